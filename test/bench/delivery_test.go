package bench_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"

	"atoll.dev/atoll/internal/bench"
	"atoll.dev/atoll/internal/sandbox/gitserver"
)

const (
	deliveryFigure   = "delivery-100x20x5"
	noopFigure       = "noop-1000"
	repositoryFigure = "repo-10000"
)

// deliveryFigures each have a hub of their own. They are measured when they are
// named: "all" does not mean them.
var deliveryFigures = []figure{
	{deliveryFigure, delivery, []string{deliveryFigure}},
	{noopFigure, noop, []string{noopFigure, noopFigure + "-requests"}},
	{repositoryFigure, repository, []string{repositoryFigure}},
}

func TestFiguresOfDelivery(t *testing.T) {
	for _, f := range deliveryFigures {
		if !named(f.name) {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			b := &bed{t: t, machine: bench.ThisMachine()}
			b.in(t, f.measure)
		})
	}
}

// hookKey is what hooks are signed with; a hub wants at least 16 bytes.
const hookKey = "a key that nobody else knows"

// charts is one repository of many charts, and what both sides make of it.
type charts struct {
	*bed
	git  *gitserver.Server
	repo *gitserver.Repository
	apps int
	// workers are the raw side's requests at once to each cluster.
	workers    int
	kubernetes string
}

// delivery is from the hook that tells of a commit, which changes every object of
// a hundred charts, until the hub says that all are in sync on five clusters. The
// limit renders the same charts in one process, one after the other, and then
// applies what they yield to all five at once.
func delivery(b *bed) {
	*b = *newBed(b.t)
	c := &charts{bed: b, apps: size(100, 10)}
	c.open()
	c.firstOfAll()
	time.Sleep(quiet)
	b.idle = b.idleUsage()
	notes := map[string]float64{"applications": float64(c.apps), "objects": float64(c.apps * chartObjects), "workers": float64(c.workers)}
	var ours, raw []float64
	for round := range size(2, 1) {
		r := c.rawRound(round + 1)
		o := c.round(round + 1)
		ours, raw = append(ours, o.inSync.Seconds()), append(raw, (r.render+r.took).Seconds())
		notes["shown"], notes["rawRender"], notes["rawApply"] = o.took.Seconds(), r.render.Seconds(), r.took.Seconds()
		notes["hubCPU"], notes["agentsCPU"], notes["membersCPU"] = o.usage.hub.Seconds(), o.usage.agents.Seconds(), o.usage.members.Seconds()
		notes["cpu"], notes["rawCPU"], notes["rawMembersCPU"] = o.usage.total().Seconds(), r.usage.total().Seconds(), r.usage.members.Seconds()
		notes["renderersCPU"] = o.renderers.Seconds()
		b.t.Logf("round %d: ours %.1f s, shown after %.1f s, %+v and %s of renderers; raw %.1f s of rendering and %.1f s of applying, %+v",
			round, o.inSync.Seconds(), o.took.Seconds(), o.usage, o.renderers, r.render.Seconds(), r.took.Seconds(), r.usage)
	}
	b.report(bench.Result{Name: deliveryFigure, Value: bench.Median(ours), Unit: "s", Limit: bench.Median(raw), Aim: "<= 1.5 of raw", Notes: notes})
}

// open makes the repository with its charts, and both namespaces.
func (c *charts) open() {
	c.settle()
	var err error
	c.git, err = gitserver.Start(c.t.TempDir())
	c.must(err)
	c.t.Cleanup(func() { _ = c.git.Close() })
	c.repo, err = c.git.Create(secretOf, c.t.TempDir())
	c.must(err)
	files := map[string]string{}
	for i := range c.apps {
		maps.Copy(files, chartFiles(i))
	}
	_, err = c.repo.Commit("the charts", files)
	c.must(err)
	c.must(c.fleet.Hub.Client().Create(c.t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: project, Name: secretOf},
		Data:       map[string][]byte{"ca.crt": c.git.CA(), "webhook": []byte(hookKey)},
	}))
	known, err := discovery.NewDiscoveryClientForConfig(c.members[0].Config())
	c.must(err)
	served, err := known.ServerVersion()
	c.must(err)
	c.kubernetes = served.GitVersion
}

// firstOfAll makes everything exist on both sides, and finds how many requests
// at once are the fastest for the raw one.
func (c *charts) firstOfAll() {
	all, err := renderAll(c.repo.Dir(), c.apps, c.kubernetes)
	c.must(err)
	part, most := len(all)/len(workers), 0.0
	for i, n := range workers {
		some := all[i*part:]
		if i < len(workers)-1 {
			some = some[:part]
		}
		began := time.Now()
		c.must(c.applyAllRendered(c.t.Context(), some, n))
		if rate := float64(len(some)) / time.Since(began).Seconds(); rate > most {
			c.workers, most = n, rate
		}
	}
	var group errgroup.Group
	group.SetLimit(8)
	for i := range c.apps {
		group.Go(func() error {
			return c.fleet.Hub.Client().Create(c.t.Context(), following(chartName(i), c.git.URL(secretOf), chartFolder(i), time.Hour))
		})
	}
	c.must(group.Wait())
	head, err := c.repo.Git("rev-parse", "HEAD")
	c.must(err)
	c.awaitInSync(head)
}

func (c *charts) applyAllRendered(ctx context.Context, all []rendered, workers int) error {
	var members errgroup.Group
	for _, m := range c.members {
		members.Go(func() error {
			var one errgroup.Group
			one.SetLimit(workers)
			for _, o := range all {
				one.Go(func() error { return m.applyRendered(ctx, o) })
			}
			return one.Wait()
		})
	}
	return members.Wait()
}

// awaitInSync returns when the hub says so; to ask costs it little beside 500 reports.
func (c *charts) awaitInSync(commit string) time.Time {
	c.t.Helper()
	var last error
	for limit := time.Now().Add(longPatience); time.Now().Before(limit); time.Sleep(200 * time.Millisecond) {
		if last = inSync(c.t.Context(), c.fleet.Hub.Client(), commit, c.apps, len(c.members)); last == nil {
			return time.Now()
		}
	}
	c.t.Fatalf("still waiting for all to be in sync: %v", last)
	return time.Time{}
}

// course is what one change of all took.
type course struct {
	// render is the raw side's; took is until the last watch shows the last object.
	render, took, inSync time.Duration
	usage                usage
	renderers            time.Duration
}

// round changes all charts by one commit.
func (c *charts) round(change int) course {
	files := map[string]string{}
	for i := range c.apps {
		files[chartFolder(i)+"/values.yaml"] = chartValues(change)
	}
	commit, err := c.repo.Commit(fmt.Sprint("change ", change), files)
	c.must(err)
	var done time.Time
	o := c.course(project, change, func() { c.hook() }, func() { done = c.awaitInSync(commit) })
	o.inSync = max(o.took, done.Sub(o.began))
	return o.course
}

// rawRound is the same change, made from the same files before they are committed.
func (c *charts) rawRound(change int) course {
	dir := c.t.TempDir()
	for i := range c.apps {
		for name, text := range chartFiles(i) {
			c.must(writeFile(dir, name, text))
		}
		c.must(writeFile(dir, chartFolder(i)+"/values.yaml", chartValues(change)))
	}
	began := time.Now()
	all, err := renderAll(dir, c.apps, c.kubernetes)
	c.must(err)
	render := time.Since(began)
	o := c.course(rawSpace, change, func() { c.must(c.applyAllRendered(c.t.Context(), all, c.workers)) }, func() {})
	o.render = render
	return o.course
}

// timedCourse is a course and when it began.
type timedCourse struct {
	course
	began time.Time
}

// course begins a change and waits until every object of every member has it, and
// until it is quiet.
func (c *charts) course(namespace string, change int, begin, wait func()) timedCourse {
	c.t.Helper()
	s := c.watch(namespace, deployments, charted["ServiceAccount"], charted["ConfigMap"])
	defer s.end()
	before, renderers := c.used(), c.renderers()
	o := timedCourse{began: time.Now()}
	begin()
	last := s.await(func(s *sights) bool { return s.everywhere("app-", c.apps*chartObjects, change) })
	o.took = last.Sub(o.began)
	wait()
	time.Sleep(quiet)
	o.usage = c.used().since(before).less(c.idle, time.Since(o.began))
	o.renderers = c.renderers() - renderers
	return o
}

// renderers is the processor time of what the hub started.
func (c *charts) renderers() time.Duration {
	c.t.Helper()
	all, err := bench.FamilyCPU(c.fleet.Hub.PID())
	c.must(err)
	own, err := bench.CPU(c.fleet.Hub.PID())
	c.must(err)
	return all - own
}

// hook tells the hub of a push, as a Git host does.
func (c *charts) hook() {
	c.t.Helper()
	body := []byte(`{"ref": "refs/heads/main"}`)
	signed := hmac.New(sha256.New, []byte(hookKey))
	signed.Write(body)
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "http://"+c.fleet.Hub.Hooks+"/hooks/git/"+project+"/"+secretOf, bytes.NewReader(body))
	c.must(err)
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(signed.Sum(nil)))
	answer, err := http.DefaultClient.Do(r)
	c.must(err)
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		c.t.Fatalf("the hook is answered with %s", answer.Status)
	}
}
