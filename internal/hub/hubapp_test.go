package hub

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/placement"
	"atoll.dev/atoll/internal/report"
)

// nested is an application that is delivered to the hub, and chooses no cluster.
const nested = `---
apiVersion: atoll.dev/v1alpha1
kind: Application
metadata: {name: %s}
spec:
  source: {inline: "{apiVersion: v1, kind: ConfigMap, metadata: {name: x}}"}
  placement: {clusters: "stage=%s"}
`

// onHub is an application that delivers to the hub itself.
func onHub(project, name, source string) *v1alpha1.Application {
	app := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: name}}
	app.Spec.Source.Inline = source
	app.Spec.Placement = &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Hub: true}}
	return app
}

// delivered waits until an application is in sync on the hub with its present word.
func (b *bench) delivered(project, name string) {
	b.Helper()
	b.eventually(name+" is delivered to the hub", func() error {
		app := b.app(project, name)
		synced := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionSynced)
		if synced == nil || synced.Status != metav1.ConditionTrue || app.Status.ObservedGeneration != app.Generation {
			return fmt.Errorf("%+v", app.Status)
		}
		return nil
	})
}

func (b *bench) stage(project, name string) string {
	b.Helper()
	return b.app(project, name).Spec.Placement.Clusters
}

// edit changes a field of the application as the admin.
func (b *bench) edit(project, name string, change func(*v1alpha1.Application)) error {
	b.Helper()
	app := b.app(project, name)
	patch := client.MergeFrom(app.DeepCopy())
	change(app)
	return b.client.Patch(b.Context(), app, patch)
}

func (b *bench) mustRefuse(err error, words ...string) {
	b.Helper()
	for _, w := range words {
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), w) {
			b.Fatalf("want a refusal that says %q, got %v", w, err)
		}
	}
}

func TestAnApplicationDeliversToTheHubItself(t *testing.T) {
	o := Options{DataDir: t.TempDir()}
	first := begin(t, o)
	b := &bench{T: t, world: first.leads(t)}
	b.project("gitops")
	source := fmt.Sprintf(nested+nested, "web", "one", "api", "one")
	b.create(onHub("gitops", "apps", source))
	b.delivered("gitops", "apps")

	t.Log("it shows where it runs, and what it runs there")
	on, err := b.fleet.ApplicationClusters(t.Context(), "gitops", "apps")
	b.must(err)
	if len(on.Clusters) != 1 || on.Clusters[0].Cluster != placement.Hub || on.Clusters[0].State.Sync != report.InSync || !on.Clusters[0].Current {
		t.Fatalf("it runs on %+v", on.Clusters)
	}
	objects, err := b.fleet.Objects(t.Context(), "gitops", "apps", "")
	b.must(err)
	if len(objects.Silent) > 0 || len(objects.Clusters) != 1 || len(objects.Clusters[0].Objects) != 2 {
		t.Fatalf("it delivers %+v", objects)
	}

	t.Log("others are refused, but for what it does not say")
	two := func(app *v1alpha1.Application) { app.Spec.Placement.Clusters = "stage=two" }
	b.mustRefuse(b.edit("gitops", "web", two), "managed by app/apps of project gitops", "spec.placement.clusters", "atoll override app/web -p gitops")
	b.mustRefuse(b.client.Delete(t.Context(), b.app("gitops", "web")), "managed by app/apps", "delete it there")
	b.mustRefuse(b.edit("gitops", "web", func(app *v1alpha1.Application) { app.ManagedFields = []metav1.ManagedFieldsEntry{{}} }), "metadata.managedFields")
	b.must(b.edit("gitops", "web", func(app *v1alpha1.Application) { app.Annotations = map[string]string{"example.com/note": "mine"} }))
	stranger := &v1alpha1.Application{ObjectMeta: metav1.ObjectMeta{Namespace: "gitops", Name: "stranger"}}
	stranger.Spec.Source.Inline = fmt.Sprintf(manifest, "x")
	b.mustRefuse(b.client.Create(t.Context(), stranger, client.FieldOwner("atoll/gitops/apps")), "only the hub writes as")

	t.Log("an override is somebody's, for a while, and is taken back")
	admin := b.whoami()
	overridden := func(by string, until time.Time) func(*v1alpha1.Application) {
		return func(app *v1alpha1.Application) {
			two(app)
			app.Annotations[v1alpha1.AnnotationPauseUntil] = until.UTC().Format(time.RFC3339)
			app.Annotations[v1alpha1.AnnotationOverrideReason], app.Annotations[v1alpha1.AnnotationOverrideBy] = "the other stage burns", by
		}
	}
	b.mustRefuse(b.edit("gitops", "web", overridden("somebody", time.Now().Add(time.Hour))), "who overrides is "+admin)
	b.mustRefuse(b.edit("gitops", "web", overridden(admin, time.Now().Add(48*time.Hour))), "within the next 24 h")
	b.must(b.edit("gitops", "web", overridden(admin, time.Now().Add(time.Hour))))
	b.eventually("the override shows", func() error {
		on, err := b.fleet.ApplicationClusters(t.Context(), "gitops", "apps")
		if err != nil || !strings.Contains(on.Clusters[0].State.Message, "paused") {
			return fmt.Errorf("%+v, %v", on, err)
		}
		return nil
	})
	if got := b.stage("gitops", "web"); got != "stage=two" {
		t.Errorf("the override did not hold: %s", got)
	}
	b.eventually("an override of a moment is let in", func() error { return b.edit("gitops", "web", overridden(admin, time.Now().Add(5*time.Second))) })
	b.eventually("it is over", func() error {
		app := b.app("gitops", "web")
		if app.Spec.Placement.Clusters != "stage=one" || app.Annotations[v1alpha1.AnnotationOverrideReason] != "" || app.Annotations[v1alpha1.AnnotationPauseUntil] != "" {
			return fmt.Errorf("%s, %v", app.Spec.Placement.Clusters, app.Annotations)
		}
		return nil
	})
	b.delivered("gitops", "apps")

	t.Log("a hub that starts again has nothing to write")
	before := b.app("gitops", "api").ResourceVersion
	first.stop()
	first.ended <- <-first.ended
	b.world = begin(t, o).leads(t)
	b.eventually("the hub knows of its own again", func() error {
		on, err := b.fleet.ApplicationClusters(t.Context(), "gitops", "apps")
		if err == nil && (len(on.Clusters) != 1 || !on.Clusters[0].Current || on.Clusters[0].State.Sync != report.InSync) {
			err = fmt.Errorf("%+v", on.Clusters)
		}
		return err
	})
	if after := b.app("gitops", "api").ResourceVersion; after != before {
		t.Errorf("it was written: %s became %s", before, after)
	}

	t.Log("what leaves the source is deleted, and what cannot be is left")
	empty := onHub("gitops", "apps", "# nothing\n")
	if err := b.edit("gitops", "apps", func(app *v1alpha1.Application) { app.Spec = empty.Spec }); !apierrors.IsInvalid(err) {
		t.Errorf("an empty source is answered by %v", err)
	}
	b.must(b.edit("gitops", "apps", func(app *v1alpha1.Application) { app.Spec.Source.Inline = fmt.Sprintf(nested, "web", "one") }))
	b.eventually("api is deleted", func() error {
		err := b.client.Get(t.Context(), client.ObjectKey{Namespace: "gitops", Name: "api"}, &v1alpha1.Application{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
	b.must(b.client.Delete(t.Context(), b.app("gitops", "apps")))
	b.eventually("web is free", func() error { return b.edit("gitops", "web", two) })
}

func TestAnApplicationOfTheHubStaysWithinItsProject(t *testing.T) {
	b := hubOf(t)
	b.project("narrow")
	for name, tt := range map[string]struct{ source, says string }{
		"itself":      {fmt.Sprintf(nested, "itself", "one"), "does not manage itself"},
		"project":     {"{apiVersion: atoll.dev/v1alpha1, kind: Project, metadata: {name: wide}, spec: {privileged: true}}", "only a privileged project"},
		"elsewhere":   {strings.Replace(fmt.Sprintf(nested, "web", "one"), "name: web", "name: web, namespace: other", 1), "another project's"},
		"credentials": {"{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: x}, roleRef: {kind: ClusterRole, name: cluster-admin}}", "Atoll's own objects only"},
	} {
		b.create(onHub("narrow", name, tt.source))
		b.eventually(name+" is refused", func() error {
			accepted := meta.FindStatusCondition(b.app("narrow", name).Status.Conditions, v1alpha1.ConditionAccepted)
			if accepted == nil || accepted.Reason != "PolicyRefused" || !strings.Contains(accepted.Message, tt.says) {
				return fmt.Errorf("%+v", accepted)
			}
			return nil
		})
	}
	moved := onHub("narrow", "moved", fmt.Sprintf(nested, "child", "one"))
	b.create(moved)
	b.delivered("narrow", "moved")
	err := b.edit("narrow", "moved", func(app *v1alpha1.Application) {
		app.Spec.Placement.Hub, app.Spec.Placement.Clusters = false, "stage=one"
	})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "neither from clusters to the hub nor back") {
		t.Errorf("a move to clusters is answered by %v", err)
	}
}

// whoami is the name that the test writes under.
func (b *bench) whoami() string {
	b.Helper()
	kube, err := kubernetes.NewForConfig(b.config)
	b.must(err)
	review, err := kube.AuthenticationV1().SelfSubjectReviews().Create(b.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	b.must(err)
	return review.Status.UserInfo.Username
}
