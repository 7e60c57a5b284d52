package bench_test

import (
	"context"
	"fmt"
	"time"

	"atoll.dev/atoll/internal/bench"
)

// noop is what a look at the sources of a thousand applications costs the hub when
// nothing is new in any, and whether their member hears of it. Each application
// is looked at every ten seconds, the least that there is; the processor time is
// that of a minute without what the hub uses before there is any application.
func noop(b *bed) {
	const every = 10 * time.Second
	window := time.Duration(size(60, 20)) * time.Second
	l := newLight(b)
	apps := size(1000, 100)
	files := map[string]string{}
	folder := func(i int) string { return fmt.Sprintf("apps/%d", i) }
	for i := range apps {
		files[folder(i)+"/settings.yaml"] = fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings-%d}\ndata: {level: info}\n", i)
	}
	commit, err := l.repo.Commit("the applications", files)
	b.must(err)
	time.Sleep(quiet)
	idle, before := l.over(window)
	l.follow(apps, folder, every)
	l.until("all to be in sync", func(ctx context.Context) error { return inSync(ctx, l.hub.Client, commit, apps, 1) })
	time.Sleep(30 * time.Second) // inventories and reports are saved until then
	lists, _ := l.git.Counts()
	cpu, asked := l.over(window)
	after, _ := l.git.Counts()
	looks := window.Seconds() / every.Seconds()
	notes := map[string]float64{
		"applications": float64(apps), "looks": looks, "cpuOfAll": cpu.Seconds(), "idleCPU": idle.Seconds(),
		"listings": float64(after - lists), "requestsBefore": float64(before),
	}
	b.report(bench.Result{Name: noopFigure, Value: (cpu - idle).Seconds() / looks, Unit: "CPU s", Aim: "< 1 CPU s", Notes: notes})
	b.report(bench.Result{Name: noopFigure + "-requests", Value: float64(asked), Unit: "requests", Aim: "0", Notes: notes})
}

// over is what the hub uses and its member is asked in that time, leases aside.
func (l *light) over(d time.Duration) (cpu time.Duration, asked int64) {
	l.t.Helper()
	before, err := bench.FamilyCPU(l.hub.PID())
	l.must(err)
	requests := l.asked.Load()
	time.Sleep(d)
	after, err := bench.FamilyCPU(l.hub.PID())
	l.must(err)
	return after - before, l.asked.Load() - requests
}
