package simulate

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// cpuWindow is how many seconds one CPU profile covers; a phase has as many
// as it takes, which `go tool pprof` reads together.
const cpuWindow = 5

// profile takes CPU profiles of the hub from now on. finish waits for the last
// and takes the heap. Profiles of a hub that is killed meanwhile are lost.
func (r *rig) profile(ctx context.Context, phase string) (finish func() error) {
	if r.pprof == "" {
		return func() error { return nil }
	}
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			err := r.fetch(ctx, fmt.Sprintf("profile?seconds=%d", cpuWindow), fmt.Sprintf("%s-%02d.cpu", phase, n))
			if err != nil {
				r.Progress("%v", err)
			}
			select {
			case <-over:
				return
			case <-ctx.Done():
				return
			default:
			}
			if err != nil && sleep(ctx, time.Second) != nil {
				return
			}
		}
	})
	return func() error {
		close(over)
		wg.Wait()
		return r.fetch(ctx, "heap?gc=1", phase+".heap")
	}
}

// fetch stores one profile.
func (r *rig) fetch(ctx context.Context, what, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.pprof+"/debug/pprof/"+what, nil)
	if err != nil {
		return fmt.Errorf("ask the hub for %s: %w", what, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask the hub for %s: %w", what, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the hub's %s: %w", what, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the hub for %s: %s", what, resp.Status)
	}
	if err := os.MkdirAll(r.Profiles, 0o755); err != nil {
		return fmt.Errorf("make the folder of profiles: %w", err)
	}
	if err := os.WriteFile(filepath.Join(r.Profiles, name), data, 0o600); err != nil {
		return fmt.Errorf("keep the hub's %s: %w", what, err)
	}
	return nil
}
