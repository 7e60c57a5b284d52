package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
)

const (
	shopChart = "apiVersion: v2\nname: shop\nversion: 1.2.3\nappVersion: \"7\"\ndependencies: [{name: web, version: 1.x, repository: \"https://charts.example.com\"}]\n"
	webChart  = "apiVersion: v2\nname: web\nversion: 1.0.0\n"
	// What a chart asks of the clusters, all of which are of one version.
	greetingTemplate = `apiVersion: v1
kind: ConfigMap
metadata:
  name: greeting
  annotations: {minor: "{{ .Capabilities.KubeVersion.Minor }}", release: "{{ .Release.Name }} in {{ .Release.Namespace }}"}
data:
  value: {{ .Values.greeting }}
`
	webTemplate = `{{ if .Capabilities.APIVersions.Has "apps/v1/Deployment" -}}
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "nginx:1"}]
{{ end }}`
)

func (x *followed) sourced(how map[string]any) {
	x.t.Helper()
	app := &v1alpha1.Application{ObjectMeta: named(x.Project, x.Name)}
	if err := x.f.Hub.Client().Patch(x.t.Context(), app, mergePatch(map[string]any{"spec": map[string]any{"source": how}})); err != nil {
		x.t.Fatal(err)
	}
}

func (x *followed) overridden(overrides []map[string]any) {
	x.t.Helper()
	app := &v1alpha1.Application{ObjectMeta: named(x.Project, x.Name)}
	if err := x.f.Hub.Client().Patch(x.t.Context(), app, mergePatch(map[string]any{"spec": map[string]any{"overrides": overrides}})); err != nil {
		x.t.Fatal(err)
	}
}

// valuesOfObjects follows values in a ConfigMap and a Secret: what they say is
// delivered, a change of them is noticed, and nobody is shown what the Secret says.
func (x *followed) valuesOfObjects() {
	x.t.Helper()
	const first, second = "canary-hunter22", "canary-hunter33"
	ctx, hub := x.t.Context(), x.f.Hub.Client()
	login := "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData:\n  password: {{ .Values.password | default \"none\" }}\n"
	x.commit("a login", map[string]string{"deploy/templates/login.yaml": login})
	x.sourced(map[string]any{"helm": map[string]any{"skipHooks": true, "valuesFiles": []string{"../environments/eu.yaml"}, "values": nil, "valuesFrom": []map[string]any{
		{"kind": "ConfigMap", "name": "greetings"}, {"kind": "Secret", "name": "passwords"}}}})
	x.fails("ValuesMissing", "valuesFrom[0]: there is no ConfigMap greetings")
	x.on("three")

	greetings := &corev1.ConfigMap{ObjectMeta: named(x.Project, "greetings"), Data: map[string]string{"values.yaml": "greeting: of the map\n"}}
	passwords := &corev1.Secret{ObjectMeta: named(x.Project, "passwords"), StringData: map[string]string{"values.yaml": "password: " + first + "\n"}}
	if err := errors.Join(hub.Create(ctx, greetings), hub.Create(ctx, passwords)); err != nil {
		x.t.Fatal(err)
	}
	x.on("of the map")
	x.password(first)
	passwords.StringData = map[string]string{"values.yaml": "password: " + second + "\n"}
	if err := hub.Update(ctx, passwords); err != nil {
		x.t.Fatal(err)
	}
	x.password(second)

	x.commit("a leak", map[string]string{"deploy/templates/leak.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: leak}\ndata: {url: 'db://{{ .Values.password }}@db'}\n"})
	x.look()
	x.fails("ValuesRefused", "ConfigMap/leak: data.url shows a value of a Secret")
	x.commit("a word", map[string]string{"deploy/templates/leak.yaml": "{{ fail (printf \"no %s\" .Values.password) }}"})
	x.look()
	x.fails("RenderRefused", "no (hidden)")
	x.password(second)

	lists := []client.ObjectList{&v1alpha1.ApplicationList{}, &v1alpha1.RevisionList{}, &eventsv1.EventList{}}
	for _, list := range lists {
		if err := hub.List(ctx, list, client.InNamespace(x.Project)); err != nil {
			x.t.Fatal(err)
		}
		if text, err := json.Marshal(list); err != nil || strings.Contains(string(text), "canary-") {
			x.t.Errorf("%T shows the password (%v):\n%s", list, err, text)
		}
	}
	for _, verb := range [][]string{{"describe", "app", x.Name}, {"plan", "app/" + x.Name}, {"history", "app/" + x.Name}} {
		if out := x.f.Hub.CLI(append(verb, "-p", x.Project)...); strings.Contains(fmt.Sprint(out), "canary-") {
			x.t.Errorf("%q shows the password:\n%v", verb, out)
		}
	}
	x.commit("as before", map[string]string{"deploy/templates/leak.yaml": "", "deploy/templates/login.yaml": ""})
	x.sourced(map[string]any{"helm": map[string]any{"valuesFrom": nil, "values": map[string]any{"greeting": "three"}}})
	x.on("three")
}

func (x *followed) password(want string) {
	x.t.Helper()
	for _, member := range []string{"a", "b"} {
		eventually(x.t, "the password on "+member, func(ctx context.Context) error {
			secret := &corev1.Secret{}
			if err := x.f.Member(member).Client().Get(ctx, client.ObjectKey{Namespace: x.Project, Name: "login"}, secret); err != nil {
				return err
			}
			if string(secret.Data["password"]) != want {
				return errors.New("it is another one")
			}
			return nil
		})
	}
}

func TestChartsAndKustomizationsOfARepositoryAreRenderedByTheHub(t *testing.T) {
	f := fleet(t)
	x := follow(t, f, "charts", map[string]string{
		"deploy/Chart.yaml":                    shopChart,
		"deploy/values.yaml":                   "greeting: one\nweb: {replicas: 1}\n",
		"deploy/templates/greeting.yaml":       greetingTemplate,
		"deploy/templates/NOTES.txt":           "{{ fail \"nobody reads this\" | default \"\" }}",
		"deploy/charts/web/Chart.yaml":         webChart,
		"deploy/charts/web/templates/web.yaml": webTemplate,
		"environments/eu.yaml":                 "greeting: two\n",
	})
	x.fails("RenderRefused", "NOTES.txt")
	first := x.commit("no notes", map[string]string{"deploy/templates/NOTES.txt": "",
		"deploy/templates/check.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: check, annotations: {helm.sh/hook: test}}\n"})
	x.look()
	app := x.runs(first)
	x.on("one")
	if c := app.Status.Source.Commit; c.Chart != "shop 1.2.3 (7)" || app.Status.Source.Fleet == "" || app.Status.Source.Renders != 1 {
		t.Errorf("the chart is said to be %q, for clusters like %q", c.Chart, app.Status.Source.Fleet)
	}
	if out := f.Hub.MustCLI("describe", "app", "shop", "-p", "charts"); !strings.Contains(out, "shop 1.2.3 (7), 1 render for all clusters") {
		t.Errorf("the chart's version is not shown:\n%s", out)
	}

	eventually(t, "the event that tells of the test which is not delivered", func(ctx context.Context) error {
		list := &eventsv1.EventList{}
		if err := f.Hub.Client().List(ctx, list, client.InNamespace("charts")); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Reason == "LeftOut" && strings.Contains(e.Note, "Pod/check (test, in shop/templates/check.yaml)") {
				return nil
			}
		}
		return errors.New("there is none")
	})

	// What would be another change at each render stops at the hub.
	x.commit("a password", map[string]string{"deploy/templates/login.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData:\n  password: {{ randAlphaNum 12 }}\n"})
	x.look()
	x.fails("RenderRefused", "shop/templates/login.yaml:5: randAlphaNum")
	x.on("one")
	x.commit("a hook", map[string]string{"deploy/templates/login.yaml": "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: migrate\n  annotations: {helm.sh/hook: 'pre-upgrade,post-upgrade'}\n"})
	x.look()
	x.fails("RenderRefused", "Job/migrate (pre-upgrade,post-upgrade, in shop/templates/login.yaml): helm.sh/hook: PreSync and PostSync")

	// Values, from a file elsewhere in the repository and from the application.
	x.sourced(map[string]any{"helm": map[string]any{"skipHooks": true, "valuesFiles": []string{"../environments/eu.yaml"}}})
	x.on("two")
	x.sourced(map[string]any{"helm": map[string]any{"values": map[string]any{"greeting": "three"}}})
	x.on("three")

	x.valuesOfObjects()

	// Values for some of the clusters are a render, and a content, of their own.
	onlyB(t, f)
	x.overridden([]map[string]any{{"clusters": "only=b", "values": map[string]any{"greeting": "for b"}}})
	becomes(t, f.Member("b"), "charts", "greeting", "for b")
	becomes(t, f.Member("a"), "charts", "greeting", "three")
	if out := f.Hub.MustCLI("describe", "app", "shop", "-p", "charts"); !strings.Contains(out, "2 renders, of which 2 differ") || !strings.Contains(out, "on 1 cluster by override 0") {
		t.Errorf("the renders are not shown:\n%s", out)
	}
	x.overridden(nil)
	x.on("three")

	// The folder becomes a kustomization, over a base beside it.
	x.sourced(map[string]any{"helm": nil})
	last := x.commit("kustomize", map[string]string{
		"deploy/Chart.yaml": "", "deploy/templates": "", "deploy/charts": "", "deploy/values.yaml": "",
		"base/greeting.yaml": configMap("greeting", "four"), "base/web.yaml": deployment("web", "nginx:1", 1),
		"base/kustomization.yaml":   "resources: [greeting.yaml, web.yaml]\n",
		"deploy/kustomization.yaml": "resources: [../base]\nlabels: [{pairs: {tier: gold}}]\n",
	})
	x.look()
	app = x.runs(last)
	x.on("four")
	if app.Status.Source.Commit.Chart != "" || app.Status.Source.Fleet != "" {
		t.Errorf("a kustomization is said to be %+v", app.Status.Source)
	}
	x.commit("from afar", map[string]string{"deploy/kustomization.yaml": "resources: ['https://127.0.0.1:1/org/base?ref=v1']\n"})
	x.look()
	x.fails("RenderRefused", "nothing is fetched while rendering")
	x.on("four")
}
