package apply

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/sandbox"
)

// The benchmarks print what the engine adds to what the API server costs.
// They assert nothing: times belong to machines.

func benchWorld(b *testing.B) *world {
	b.Helper()
	cfg, err := sandbox.Shared(b, "member").RESTConfig()
	if err != nil {
		b.Fatal(err)
	}
	return newWorldOn(b, cfg)
}

// BenchmarkDriftToCorrected is from a person's write being answered to the
// watch that shows the correction.
func BenchmarkDriftToCorrected(b *testing.B) {
	w := benchWorld(b)
	w.deploy("shop", deployment("web", "shop/web:1.0", 1))
	w.state("shop", "well", report.State.Well)
	watch, err := w.client.Resource(deployments).Namespace(w.project).Watch(b.Context(), metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer watch.Stop()
	var took []time.Duration
	corrections := int64(0)
	for b.Loop() {
		w.edit(deployments, "web", `{"spec":{"replicas":3}}`)
		start, drifted := time.Now(), false
		for event := range watch.ResultChan() {
			m, _ := event.Object.(interface{ UnstructuredContent() map[string]any })
			replicas := fmt.Sprint(m.UnstructuredContent()["spec"].(map[string]any)["replicas"])
			drifted = drifted || replicas == "3"
			if drifted && replicas == "1" {
				break
			}
		}
		took = append(took, time.Since(start))
		corrections++
		b.StopTimer()
		w.engine.mu.Lock() // a fight is not what is measured
		for _, o := range w.engine.objects {
			o.fights, o.calmUntil = 0, time.Time{}
		}
		w.engine.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		b.StartTimer()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

const fleetOfObjects = 500

func many() string {
	var all strings.Builder
	for i := range fleetOfObjects {
		all.WriteString(strings.Replace(deployment(fmt.Sprintf("d%03d", i), "shop/web:1.0", 1), "replicas: 1", "replicas: 0", 1))
	}
	return all.String()
}

// BenchmarkDelivery delivers 500 Deployments, and in turn does the same with
// client-go alone, sixteen at a time: the ratio is what the engine costs.
func BenchmarkDelivery(b *testing.B) {
	var ours, raw time.Duration
	rounds := 0
	for b.Loop() {
		raw += rawApply(b)
		ours += delivery(b)
		rounds++
	}
	objects := float64(rounds * fleetOfObjects)
	b.ReportMetric(objects/ours.Seconds(), "objects/s")
	b.ReportMetric(objects/raw.Seconds(), "raw-objects/s")
	b.ReportMetric(raw.Seconds()/ours.Seconds(), "of-raw")
}

func delivery(b *testing.B) time.Duration {
	w := benchWorld(b)
	defer w.halt()
	start := time.Now()
	w.deploy("big", many())
	w.state("big", "applied", func(s report.State) bool { return s.Applied == fleetOfObjects })
	return time.Since(start)
}

func rawApply(b *testing.B) time.Duration {
	w := benchWorld(b)
	w.halt()
	w.ownNamespace()
	client, err := dynamic.NewForConfig(w.cfg)
	if err != nil {
		b.Fatal(err)
	}
	docs := strings.Split(w.expand(many()), "---\n")[1:]
	work := make(chan int)
	var done sync.WaitGroup
	start := time.Now()
	for range 16 {
		done.Go(func() {
			for i := range work {
				body, err := yaml.YAMLToJSON([]byte(docs[i]))
				if err != nil {
					b.Error(err)
					return
				}
				force := true
				if _, err := client.Resource(deployments).Namespace(w.project).Patch(b.Context(), fmt.Sprintf("d%03d", i), types.ApplyPatchType, body, metav1.PatchOptions{FieldManager: "raw", Force: &force}); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for i := range docs {
		work <- i
	}
	close(work)
	done.Wait()
	return time.Since(start)
}
