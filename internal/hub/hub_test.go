package hub

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/registry"
	"atoll.dev/atoll/internal/report"
	"atoll.dev/atoll/internal/trust"
)

func TestEachStartTakesALaterTermOfTheSameHistory(t *testing.T) {
	b := hubOf(t)
	before, err := takeTerm(t.Context(), b.client, v1alpha1.SystemNamespace, whereabouts{})
	b.must(err)
	after, err := takeTerm(t.Context(), b.client, v1alpha1.SystemNamespace, whereabouts{})
	b.must(err)
	if after.Term != before.Term+1 || after.Incarnation != before.Incarnation || before.Incarnation == "" {
		t.Errorf("%+v after %+v", after, before)
	}
}

func TestOfHubsThatStartAtOnceNoTwoShareATerm(t *testing.T) {
	b := hubOf(t)
	var mu sync.Mutex
	terms := map[uint64]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			stamp, err := takeTerm(t.Context(), b.client, v1alpha1.SystemNamespace, whereabouts{})
			if err != nil {
				return // the loser of a race starts again
			}
			mu.Lock()
			defer mu.Unlock()
			if terms[stamp.Term] {
				t.Errorf("term %d was taken twice", stamp.Term)
			}
			terms[stamp.Term] = true
		})
	}
	if wg.Wait(); len(terms) == 0 {
		t.Error("nobody got a term")
	}
}

func TestATokenServesOneKeyOnce(t *testing.T) {
	b := hubOf(t)
	b.register("token-once", nil)
	ticket := b.ticket("token-once")
	agents := []*member{b.agent("token-once", "uid-t", ticket.Roots), b.agent("token-once", "uid-t", ticket.Roots)}
	results := make([]error, len(agents))
	var wg sync.WaitGroup
	for i, a := range agents {
		wg.Go(func() { results[i] = a.trust.Join(t.Context(), ticket.Token) })
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		var refused *trust.Refused
		switch {
		case err == nil:
			won++
		case !errors.As(err, &refused) || refused.Reason != trust.TokenUsed:
			t.Errorf("the other was told %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d agents joined with one token", won)
	}
	if _, err := b.fleet.Join(t.Context(), "token-once", fleet.JoinRequest{}); err == nil || !strings.Contains(err.Error(), "joined already") {
		t.Errorf("a second token: %v", err)
	}
}

func TestANewerTokenReplacesTheOlder(t *testing.T) {
	b := hubOf(t)
	b.register("token-newer", nil)
	old, newer := b.ticket("token-newer"), b.ticket("token-newer")
	a := b.agent("token-newer", "uid-n", old.Roots)
	var refused *trust.Refused
	if err := a.trust.Join(t.Context(), old.Token); !errors.As(err, &refused) {
		t.Fatalf("the old token: %v", err)
	}
	b.must(a.trust.Join(t.Context(), newer.Token))
}

func TestATokenGoesWithItsCluster(t *testing.T) {
	b := hubOf(t)
	b.register("token-gone", nil)
	b.ticket("token-gone")
	b.must(b.client.Delete(t.Context(), b.cluster("token-gone")))
	b.eventually("the token's secret goes", func() error {
		err := b.client.Get(t.Context(), client.ObjectKey{Namespace: v1alpha1.SystemNamespace, Name: "join.token-gone"}, &corev1.Secret{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
}

func TestOneKubernetesClusterIsEnrolledUnderOneName(t *testing.T) {
	b := hubOf(t)
	r := registry.New(b.client, b.client, v1alpha1.SystemNamespace)
	names := []string{"twin-a", "twin-b", "twin-c"}
	for _, n := range names {
		b.register(n, nil)
	}
	results := make([]error, len(names))
	var wg sync.WaitGroup
	for i, n := range names {
		wg.Go(func() {
			results[i] = r.SaveIdentity(t.Context(), n, trust.Enrolled{ClusterUID: "twin", Fingerprint: n, SealingKey: "k"})
		})
	}
	wg.Wait()
	saved := ""
	for i, err := range results {
		var refused *trust.Refused
		switch {
		case err == nil && saved == "":
			saved = names[i]
		case err == nil:
			t.Errorf("%s and %s are one Kubernetes cluster", saved, names[i])
		case !errors.As(err, &refused) || refused.Reason != trust.AlreadyJoined:
			t.Errorf("%s was told %v", names[i], err)
		}
	}
	if got, err := r.ByClusterUID(t.Context(), "twin"); err != nil || got != saved || saved == "" {
		t.Errorf("it is %q, %v; enrolled was %q", got, err, saved)
	}
	b.must(b.client.Delete(t.Context(), b.cluster(saved)))
	b.eventually("the name is free", func() error {
		if got, err := r.ByClusterUID(t.Context(), "twin"); err != nil || got != "" {
			return fmt.Errorf("it is %q, %w", got, err)
		}
		return nil
	})
}

func TestEditsOfAnIdentityAtOnceAreAllKept(t *testing.T) {
	b := hubOf(t)
	r := registry.New(b.client, b.client, v1alpha1.SystemNamespace)
	b.register("edits", nil)
	b.must(r.SaveIdentity(t.Context(), "edits", trust.Enrolled{ClusterUID: "uid-edits", Fingerprint: "one", SealingKey: "k"}))
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	var wg sync.WaitGroup
	wg.Go(func() { b.must(r.SetPending(t.Context(), "edits", "two", expires)) })
	wg.Go(func() {
		b.must(r.Renewed(t.Context(), "edits", trust.Renewal{SealingKey: "k2", AgentVersion: "v2", Expires: expires}))
	})
	wg.Wait()
	b.must(r.Promote(t.Context(), "edits", "two"))
	b.must(r.Promote(t.Context(), "edits", "two"))
	got, err := r.Lookup(t.Context(), "edits")
	b.must(err)
	want := trust.Enrolled{ClusterUID: "uid-edits", Fingerprint: "two", SealingKey: "k2", AgentVersion: "v2", Expires: expires}
	if id := got.Identity; id == nil || id.Fingerprint != want.Fingerprint || id.Pending != "" || id.SealingKey != want.SealingKey || !id.Expires.Equal(expires) {
		t.Errorf("recorded %+v, want %+v", got.Identity, want)
	}
}

func TestAProjectWaitsForItsApplications(t *testing.T) {
	b := hubOf(t)
	b.project("keeps")
	b.deploy("keeps", "shop", "nowhere=true", v1alpha1.Orphan)
	b.must(b.client.Get(t.Context(), client.ObjectKey{Name: "keeps"}, &corev1.Namespace{}))
	project := &v1alpha1.Project{ObjectMeta: metav1.ObjectMeta{Name: "keeps"}}
	b.must(b.client.Delete(t.Context(), project))
	b.eventually("the project says what it waits for", func() error {
		if err := b.client.Get(t.Context(), client.ObjectKeyFromObject(project), project); err != nil {
			return err
		}
		if c := meta.FindStatusCondition(project.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Reason != "HasApplications" {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
	b.must(b.client.Delete(t.Context(), b.app("keeps", "shop")))
	b.eventually("the project goes", func() error {
		if err := b.client.Get(t.Context(), client.ObjectKeyFromObject(project), project); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
}

func synced(app *v1alpha1.Application) error {
	if c := meta.FindStatusCondition(app.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Status != metav1.ConditionTrue {
		return fmt.Errorf("status %+v", app.Status)
	}
	return nil
}

// A status of the generation that was just written must not show the counts of
// the one before: who polls for both would believe that the change has arrived.
func TestCountsAreOfTheGenerationThatTheStatusNames(t *testing.T) {
	b := hubOf(t)
	b.project("counted")
	m := b.joined("counted-1", map[string]string{"test": "counted"})
	key := desired.Key{Project: "counted", Application: "shop"}
	b.deploy("counted", "shop", "test=counted", v1alpha1.Orphan)
	m.until("the application", func(r desired.Root) bool { _, ok := r.Get(key); return ok })
	m.reports(key, report.InSync, report.HealthHealthy)
	b.eventually("in sync and healthy", func() error { return synced(b.app("counted", "shop")) })

	watching, err := client.NewWithWatch(b.config, client.Options{Scheme: b.client.Scheme()})
	b.must(err)
	seen, err := watching.Watch(t.Context(), &v1alpha1.ApplicationList{}, client.InNamespace("counted"))
	b.must(err)
	defer seen.Stop()
	app := b.app("counted", "shop")
	before := app.DeepCopy()
	app.Spec.Source.Inline = fmt.Sprintf(manifest, "another")
	// Patch, not Update: its status may be written at any time.
	b.must(b.client.Patch(t.Context(), app, client.MergeFrom(before))) // the agent never speaks of it
	for late := time.After(patience); ; {
		select {
		case e := <-seen.ResultChan():
			found, ok := e.Object.(*v1alpha1.Application)
			if !ok || found.Generation < app.Generation || found.Status.ObservedGeneration < found.Generation {
				continue
			}
			if n := found.Status.Counts; n.InSync != 0 || n.Progressing != 1 {
				t.Fatalf("generation %d, which no agent has, is said to be %+v", found.Generation, n)
			}
			return
		case <-late:
			t.Fatal("the status never spoke of the new generation")
		}
	}
}

func TestAnIntentReachesItsClusterAndComesBackAsStatus(t *testing.T) {
	b := hubOf(t)
	b.project("walk")
	m := b.joined("walk-1", map[string]string{"test": "walk"})
	key := desired.Key{Project: "walk", Application: "shop"}
	b.deploy("walk", "shop", "test=walk", v1alpha1.Delete)
	m.until("the application", func(r desired.Root) bool { _, ok := r.Get(key); return ok })
	m.reports(key, report.InSync, report.HealthHealthy)
	b.eventually("in sync and healthy", func() error { return synced(b.app("walk", "shop")) })

	// Idle, nothing is written, however many heartbeats and equal reports come.
	version := func() string {
		return b.app("walk", "shop").ResourceVersion + " " + b.cluster("walk-1").ResourceVersion
	}
	b.eventually("the hub comes to rest", func() error {
		before := version()
		for range 20 {
			m.say()
			time.Sleep(50 * time.Millisecond) // the time in which nothing may be written
		}
		if after := version(); after != before {
			return fmt.Errorf("versions went from %s to %s", before, after)
		}
		return nil
	})

	m.reports(key, report.Drifted, report.HealthDegraded)
	b.eventually("drift is told", func() error {
		if c := b.app("walk", "shop").Status.Counts; c.Drifted != 1 || c.Degraded != 1 {
			return fmt.Errorf("counts %+v", c)
		}
		return nil
	})

	m.link.Close(nil)
	b.eventually("no health without a link", func() error {
		if c := b.app("walk", "shop").Status.Counts; c.Unknown != 1 {
			return fmt.Errorf("counts %+v", c)
		}
		if s := b.cluster("walk-1").Status.Connection.State; s != v1alpha1.Disconnected {
			return fmt.Errorf("the cluster is %s", s)
		}
		return nil
	})
	m.connect()

	// Deletion waits for the agent's word.
	b.must(b.client.Delete(t.Context(), b.app("walk", "shop")))
	m.until("the request to let go", func(r desired.Root) bool { e, ok := r.Get(key); return ok && e.Withdrawn })
	b.app("walk", "shop")
	m.reports(key, report.Withdrawn, report.HealthUnknown)
	b.eventually("the application goes", func() error {
		if err := b.client.Get(t.Context(), client.ObjectKey{Namespace: "walk", Name: "shop"}, &v1alpha1.Application{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	m.until("an empty root", func(r desired.Root) bool { return len(r.Entries) == 0 })
}

func TestAnOrphaningApplicationGoesAtOnceAndNobodyIsAskedToDelete(t *testing.T) {
	b := hubOf(t)
	b.project("orphans")
	m := b.joined("orphans-1", map[string]string{"test": "orphans"})
	key := desired.Key{Project: "orphans", Application: "shop"}
	b.deploy("orphans", "shop", "test=orphans", v1alpha1.Orphan)
	m.until("the application", func(r desired.Root) bool { _, ok := r.Get(key); return ok })
	b.must(b.client.Delete(t.Context(), b.app("orphans", "shop")))
	m.until("its end", func(r desired.Root) bool {
		e, ok := r.Get(key)
		if e.Withdrawn {
			t.Error("the agent is asked to delete")
		}
		return !ok
	})
}

func TestARefusedChangeLeavesWhatRuns(t *testing.T) {
	b := hubOf(t)
	b.project("refuses")
	m := b.joined("refuses-1", map[string]string{"test": "refuses"})
	key := desired.Key{Project: "refuses", Application: "shop"}
	b.deploy("refuses", "shop", "test=refuses", v1alpha1.Orphan)
	m.until("the application", func(r desired.Root) bool { _, ok := r.Get(key); return ok })
	app := b.app("refuses", "shop")
	patch := client.MergeFrom(app.DeepCopy())
	app.Spec.Source.Inline = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: root}}"
	b.must(b.client.Patch(t.Context(), app, patch))
	m.until("the request to keep what it has", func(r desired.Root) bool { e, _ := r.Get(key); return e.Hold })
	b.eventually("the refusal is told", func() error {
		c := meta.FindStatusCondition(b.app("refuses", "shop").Status.Conditions, v1alpha1.ConditionAccepted)
		if c == nil || c.Reason != "PolicyRefused" || !strings.Contains(c.Message, "ClusterRole") {
			return fmt.Errorf("accepted is %+v", c)
		}
		return nil
	})
}

func TestSilenceOnAnOpenLinkIsNotHealth(t *testing.T) {
	b := hubOf(t)
	b.project("silent")
	m := b.joined("silent-1", map[string]string{"test": "silent"})
	key := desired.Key{Project: "silent", Application: "shop"}
	b.deploy("silent", "shop", "test=silent", v1alpha1.Orphan)
	m.until("the application", func(r desired.Root) bool { _, ok := r.Get(key); return ok })
	m.reports(key, report.InSync, report.HealthHealthy)
	b.eventually("healthy", func() error { return synced(b.app("silent", "shop")) })
	m.quiet.Store(true)
	b.eventually("late heartbeats are told", func() error {
		if s := b.cluster("silent-1").Status.Connection.State; s != v1alpha1.Stale {
			return fmt.Errorf("the cluster is %s", s)
		}
		if c := b.app("silent", "shop").Status.Counts; c.Healthy != 0 {
			return fmt.Errorf("counts %+v", c)
		}
		return nil
	})
	m.quiet.Store(false)
	b.eventually("they come again", func() error {
		if s := b.cluster("silent-1").Status.Connection.State; s != v1alpha1.Connected {
			return fmt.Errorf("the cluster is %s", s)
		}
		return synced(b.app("silent", "shop"))
	})
}

func TestALinkEndsWithItsClustersRightToIt(t *testing.T) {
	b := hubOf(t)
	for name, take := range map[string]func(*v1alpha1.Cluster){
		"rights-removed": func(c *v1alpha1.Cluster) { b.must(b.client.Delete(t.Context(), c)) },
		"rights-anew": func(c *v1alpha1.Cluster) {
			b.must(b.client.Delete(t.Context(), c))
			b.eventually("the name is free", func() error {
				fresh := &v1alpha1.Cluster{ObjectMeta: metav1.ObjectMeta{Name: c.Name}}
				fresh.Spec.Owner, fresh.Spec.Accepted = "team", true
				return b.client.Create(t.Context(), fresh)
			})
		},
		"rights-withdrawn": func(c *v1alpha1.Cluster) {
			patch := client.MergeFrom(c.DeepCopy())
			c.Spec.Accepted = false
			b.must(b.client.Patch(t.Context(), c, patch))
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := b.joined(name, nil)
			take(b.cluster(name))
			select {
			case <-m.link.Done():
			case <-time.After(patience):
				t.Error("the link lives on")
			}
		})
	}
}
