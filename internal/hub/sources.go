package hub

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/component-base/version"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	channel "sigs.k8s.io/controller-runtime/pkg/source"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/clock"
	followed "atoll.dev/atoll/internal/controllers/source"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/manifests"
	"atoll.dev/atoll/internal/render/worker"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/git"
	"atoll.dev/atoll/internal/source/helm"
	"atoll.dev/atoll/internal/source/oci"
)

// sourceWorkers mostly wait for other people's servers. They are many times what
// one project may take: the servers of a few that do not answer keep nobody else.
const sourceWorkers = 64

// followSources prepares what looks at the sources of applications.
func (h *hub) followSources() error {
	allow, err := egress.ParseAllow(h.SourceAllow)
	if err != nil {
		return err
	}
	sources, err := openSources(filepath.Join(h.DataDir, "source-cache"), egress.Guard{Allow: allow})
	if err != nil {
		return err
	}
	workers, err := h.renderWorkers()
	if err != nil {
		return err
	}
	if h.values, err = h.watchValues(); err != nil {
		return err
	}
	err = builder.ControllerManagedBy(h.mgr).Named("source").
		For(&v1alpha1.Application{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, fetchAsked))).
		WatchesRawSource(channel.Channel(h.valuesPulse.events, &handler.TypedEnqueueRequestForObject[*v1alpha1.Application]{})).
		WithOptions(concurrent(sourceWorkers)).Complete(&followed.Reconciler{
		Client: h.mgr.GetClient(), Secrets: h.live, Sources: sources, Depot: h.depot,
		Render: &manifests.Renderer{Client: h.mgr.GetClient(), Workers: workers, Kubernetes: "v" + version.DefaultKubeBinaryVersion + ".0"},
		Events: h.mgr.GetEventRecorder("atoll"), Now: clock.Now, Spread: spread,
	})
	if err != nil {
		return fmt.Errorf("prepare the source controller: %w", err)
	}
	return nil
}

// openSources begins with an empty dir, in which each kind has a folder.
func openSources(dir string, guard egress.Guard) (map[source.Kind]followed.Opener, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("empty the cache of sources: %w", err)
	}
	repositories, err := git.Open(filepath.Join(dir, "git"), guard, git.DefaultLimits, clock.Now)
	if err != nil {
		return nil, err
	}
	charts, err := helm.Open(filepath.Join(dir, "charts"), guard, helm.DefaultLimits, clock.Now)
	if err != nil {
		return nil, err
	}
	registries, err := oci.Open(filepath.Join(dir, "artifacts"), guard, oci.DefaultLimits, clock.Now)
	if err != nil {
		return nil, err
	}
	return map[source.Kind]followed.Opener{source.Git: repositories, source.Index: charts, source.Registry: registries}, nil
}

// renderWorkers are processes of this program; they end with the hub.
func (h *hub) renderWorkers() (*worker.Pool, error) {
	command := h.RenderCommand
	if len(command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find this program, to render in processes of its own: %w", err)
		}
		command = []string{self, worker.Verb}
	}
	pool := worker.NewPool(worker.Options{Command: command})
	err := h.mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		pool.Close()
		return nil
	}))
	if err != nil {
		return nil, fmt.Errorf("prepare to render: %w", err)
	}
	return pool, nil
}

// spread is up to a tenth more or less.
func spread(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}

// fetchAsked is somebody's wish that a source is looked at now.
var fetchAsked = onUpdate(func(before, after *v1alpha1.Application) bool {
	return before.Annotations[v1alpha1.AnnotationFetch] != after.Annotations[v1alpha1.AnnotationFetch]
})

// fetchedChanged is news of a source, which the intent loop takes up.
var fetchedChanged = onUpdate(func(before, after *v1alpha1.Application) bool {
	return !reflect.DeepEqual(before.Status.Source, after.Status.Source) ||
		!reflect.DeepEqual(meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionFetched),
			meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionFetched))
})

func onUpdate(differs func(before, after *v1alpha1.Application) bool) predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			before, ok := e.ObjectOld.(*v1alpha1.Application)
			after, also := e.ObjectNew.(*v1alpha1.Application)
			return ok && also && differs(before, after)
		},
	}
}
