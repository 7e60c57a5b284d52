package hubapp

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/fleet"
	"atoll.dev/atoll/internal/placement"
)

// Answer says of an application on the hub what an agent would say of one in its
// member, by the same paths: /applications/PROJECT/APPLICATION/WHAT.
func (r *Runner) Answer(ctx context.Context, path string) ([]byte, error) {
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) != 4 || parts[0] != "applications" {
		return nil, fmt.Errorf("the hub has no answer to %s", path)
	}
	project, err := url.PathUnescape(parts[1])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	application, err := url.PathUnescape(parts[2])
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	key := desired.Key{Project: project, Application: application}
	var answer any
	switch parts[3] {
	case "objects":
		answer, err = r.objects(key)
	case "diff":
		answer, err = r.diff(ctx, key)
	case "sync":
		answer, err = r.sync(key)
	case "events":
		answer = []fleet.Event{} // the hub records none about its own objects
	default:
		err = fmt.Errorf("the hub has no answer to %s", path)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(answer)
}

func (r *Runner) objects(key desired.Key) (any, error) {
	engine, err := r.running()
	if err != nil {
		return nil, err
	}
	views, err := engine.View(key)
	if err != nil {
		return nil, err
	}
	out := fleet.ClusterObjects{Cluster: placement.Hub, AsOf: r.Now(), Objects: make([]fleet.Object, 0, len(views))}
	for _, v := range views {
		out.Objects = append(out.Objects, fleet.Object{Ref: v.Ref, UID: v.UID, Sync: v.Sync, Health: v.Health, Message: v.Message})
	}
	return out, nil
}

// sync has everything applied once more, as atoll sync asks of agents.
func (r *Runner) sync(key desired.Key) (any, error) {
	engine, err := r.running()
	if err != nil {
		return nil, err
	}
	return fleet.ClusterSync{Cluster: placement.Hub}, engine.SyncNow(key)
}

func (r *Runner) diff(ctx context.Context, key desired.Key) (any, error) {
	engine, err := r.running()
	if err != nil {
		return nil, err
	}
	differences, err := engine.Preview(ctx, key)
	if err != nil {
		return nil, err
	}
	out := fleet.ClusterDiff{Cluster: placement.Hub, AsOf: r.Now(), Objects: make([]fleet.ObjectDiff, 0, len(differences))}
	for _, d := range differences {
		out.Objects = append(out.Objects, fleet.ObjectDiff{Ref: d.Ref, Action: string(d.Action), Changes: d.Changes, Message: d.Message})
	}
	return out, nil
}
