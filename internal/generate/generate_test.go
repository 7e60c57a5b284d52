package generate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"pgregory.net/rapid"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/content"
)

func shop() Options {
	o := Default("web")
	o.Image, o.Port, o.Host, o.Probe = "ghcr.io/team/web:2.1", 8080, "shop.example.com", "/healthz"
	o.Env = map[string]string{"MODE": "production", "EMPTY": ""}
	return o
}

// refusals are what Pod Security says of the pods at a level.
func refusals(t *testing.T, o Options, level api.Level) string {
	t.Helper()
	data, err := yaml.Marshal(o.deployment())
	if err != nil {
		t.Fatal(err)
	}
	d := appsv1.Deployment{}
	if err := yaml.UnmarshalStrict(data, &d); err != nil {
		t.Fatal(err)
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		t.Fatal(err)
	}
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: d.Spec.Template.Spec}
	result := policy.AggregateCheckResults(evaluator.EvaluatePod(api.LevelVersion{Level: level, Version: api.LatestVersion()}, &pod.ObjectMeta, &pod.Spec))
	return result.ForbiddenDetail()
}

func TestPodsPassTheRestrictedLevelOfPodSecurity(t *testing.T) {
	o := shop()
	if why := refusals(t, o, api.LevelRestricted); why != "" {
		t.Error(why)
	}
	o.Root = true
	if why := refusals(t, o, api.LevelBaseline); why != "" {
		t.Error(why)
	}
	if refusals(t, o, api.LevelRestricted) == "" {
		t.Error("a container that may be root passes as restricted: the check sees nothing")
	}
}

func TestAnImageAloneIsReachedByItsHost(t *testing.T) {
	kinds := func(o Options) string {
		var all []string
		for _, object := range o.Objects() {
			all = append(all, object["kind"].(string))
		}
		return strings.Join(all, " ")
	}
	o := shop()
	if got := kinds(o); got != "Deployment Service Ingress" {
		t.Error(got)
	}
	o.Gateway = "infra/public"
	if got := kinds(o); got != "Deployment Service HTTPRoute" {
		t.Error(got)
	}
	o.Host, o.Gateway, o.Port, o.Probe = "", "", 0, ""
	if got := kinds(o); got != "Deployment" {
		t.Error(got)
	}
	data, err := shop().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := content.Parse([]content.File{{Name: "web.yaml", Data: data}}, content.Options{}); err != nil {
		t.Error(err)
	}
}

func TestEveryMistakeIsNamedByItsFlag(t *testing.T) {
	for flag, spoil := range map[string]func(*Options){
		"--image":         func(o *Options) { o.Image = "" },
		"--port":          func(o *Options) { o.Port = 70000 },
		"--replicas":      func(o *Options) { o.Replicas = -1 },
		"--host needs":    func(o *Options) { o.Port, o.Probe = 0, "" },
		"--host \"a b\"":  func(o *Options) { o.Host = "a b" },
		"--probe":         func(o *Options) { o.Probe = "healthz" },
		"--gateway":       func(o *Options) { o.Gateway = "a/b/c" },
		"--ingress-class": func(o *Options) { o.IngressClass = "A" },
		"--env":           func(o *Options) { o.Env = map[string]string{"=": ""} },
		"--cpu":           func(o *Options) { o.CPU = "much" },
		"--memory":        func(o *Options) { o.Memory = "-1" },
		"Service":         func(o *Options) { o.Name = "Web" },
	} {
		o := shop()
		spoil(&o)
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
	if err := shop().Check(); err != nil {
		t.Error(err)
	}
}

// A second deploy reads what the first one wrote.
func TestWhatWasWrittenIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Default(rapid.StringMatching(`[a-z][a-z0-9]{0,8}`).Draw(t, "name"))
		o.Image = rapid.StringMatching(`[a-z]{1,8}(:[a-z0-9.]{1,8})?`).Draw(t, "image")
		o.Replicas, o.Root = rapid.Int32Range(0, 50).Draw(t, "replicas"), rapid.Bool().Draw(t, "root")
		o.CPU = rapid.SampledFrom([]string{"100m", "2", "1500m"}).Draw(t, "cpu")
		if rapid.Bool().Draw(t, "serves") {
			o.Port = rapid.Int32Range(1, 65535).Draw(t, "port")
			o.Probe = rapid.SampledFrom([]string{"", "/", "/ready"}).Draw(t, "probe")
			o.Host = rapid.SampledFrom([]string{"", "a.example.com", "*.example.com"}).Draw(t, "host")
		}
		if o.Host != "" {
			o.Gateway = rapid.SampledFrom([]string{"", "public", "infra/public"}).Draw(t, "gateway")
		}
		if o.Host != "" && o.Gateway == "" {
			o.IngressClass = rapid.SampledFrom([]string{"", "nginx"}).Draw(t, "class")
		}
		if env := rapid.MapOfN(rapid.StringMatching(`[A-Z_]{1,5}`), rapid.String(), 0, 3).Draw(t, "env"); len(env) > 0 {
			o.Env = env
		}
		if o.Check() != nil {
			t.Skip("a value that no YAML can hold")
		}
		data, err := o.YAML()
		if err != nil {
			t.Fatal(err)
		}
		got, ok := Read(data)
		if diff := cmp.Diff(o, got); !ok || diff != "" {
			t.Fatalf("ok %v: %s\n%s", ok, diff, data)
		}
	})
}

func FuzzReadTakesOnlyItsOwn(f *testing.F) {
	data, _ := shop().YAML()
	f.Add(data)
	f.Add([]byte("kind: Deployment\n---\nkind: Ingress\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		o, ok := Read(data)
		if !ok {
			return
		}
		again, err := o.YAML()
		if err != nil || string(again) != string(data) {
			t.Errorf("read %+v from another's %q", o, data)
		}
	})
}
