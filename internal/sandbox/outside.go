package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Edge is the name of the fleet's process that is the way between all its
// clusters and the outside. It is no component of any cluster: it is still
// there when one is killed or paused, and ends faults whose time is up.
const Edge = "edge"

// edgeTimeout bounds how long the edge may take to do as it is told.
const edgeTimeout = 30 * time.Second

// edgeRecord is the fleet's edge.json.
type edgeRecord struct {
	Process Process `json:"process"`
	// Port is where it is told that something changed.
	Port int `json:"port"`
}

func (f *Fleet) edgePath() string { return filepath.Join(f.dir, "edge.json") }

func (f *Fleet) edge() (edgeRecord, error) {
	var r edgeRecord
	data, err := os.ReadFile(f.edgePath())
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read %s: %w", f.edgePath(), err)
	}
	return r, nil
}

// syncEdge returns when the edge does what is recorded of the clusters, and
// starts it if it does not run.
func (f *Fleet) syncEdge(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, edgeTimeout)
	defer cancel()
	r, err := f.edge()
	if err != nil {
		return err
	}
	if !r.Process.Alive() {
		if r, err = f.startEdge(); err != nil {
			return err
		}
	}
	for {
		err := tellEdge(ctx, r.Port)
		switch {
		case err == nil:
			return nil
		case !r.Process.Alive():
			return fmt.Errorf("the edge of %s ended: %s (log: %s)", f.dir, lastLines(f.edgeLog(), 1)[0], f.edgeLog())
		case !errors.Is(err, errNotYet):
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the edge of %s does not answer (log: %s): %w", f.dir, f.edgeLog(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func tellEdge(ctx context.Context, port int) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://127.0.0.1:"+strconv.Itoa(port)+"/sync", nil)
	if err != nil {
		return err
	}
	// A transport without a proxy: the edge is on this machine.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotYet, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the edge answers %s: its log says why", response.Status)
	}
	return nil
}

func (f *Fleet) edgeLog() string { return filepath.Join(f.dir, "edge.log") }

func (f *Fleet) startEdge() (edgeRecord, error) {
	var r edgeRecord
	binary, err := findBinary()
	if err != nil {
		return r, err
	}
	states, err := f.states()
	if err != nil {
		return r, err
	}
	ports, err := freePorts(1, portsTaken(states))
	if err != nil {
		return r, err
	}
	child := command{
		path: binary,
		log:  f.edgeLog(),
		args: []string{"component", Edge, "--", "--dir=" + f.dir, "--port=" + strconv.Itoa(ports[0])},
		env:  frugal(),
	}
	if f.lifeline != nil {
		child.lifeline = f.lifeline.read
	}
	process, _, err := spawn(child)
	if err != nil {
		return r, fmt.Errorf("start the edge of %s: %w", f.dir, err)
	}
	r = edgeRecord{Process: process, Port: ports[0]}
	data, err := json.Marshal(r)
	if err != nil {
		return r, err
	}
	return r, replaceFile(f.edgePath(), append(data, '\n'))
}

// releaseEdge closes the ways to clusters that are gone, and ends the edge
// after the last.
func (f *Fleet) releaseEdge(ctx context.Context) error {
	r, err := f.edge()
	if err != nil || r.Port == 0 {
		return err
	}
	states, err := f.states()
	if err != nil {
		return err
	}
	if len(states) > 0 {
		return f.syncEdge(ctx)
	}
	if err := r.Process.kill(); err != nil {
		return err
	}
	return errors.Join(os.Remove(f.edgePath()), os.Remove(f.edgeLog()))
}
