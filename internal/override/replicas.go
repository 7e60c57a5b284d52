package override

import (
	"fmt"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/report"
)

func scale(objects []content.Object, r v1alpha1.ReplicaOverride) error {
	found := false
	for i, o := range objects {
		if o.Ref.Name != r.Name || !scalable(o.Ref) {
			continue
		}
		found = true
		var fields map[string]any
		if err := decode(o.Manifest, &fields); err != nil {
			return fmt.Errorf(": read %s: %w", o.Ref, err)
		}
		spec, ok := fields["spec"].(map[string]any)
		if !ok {
			return fmt.Errorf(": %s has no spec", o.Ref)
		}
		spec["replicas"] = r.Count
		var err error
		if objects[i], err = rewrite(o, fields); err != nil {
			return fmt.Errorf(": %s %w", o.Ref, err)
		}
	}
	if !found {
		return fmt.Errorf(".name: no Deployment, StatefulSet, ReplicaSet or ReplicationController is named %s", r.Name)
	}
	return nil
}

func scalable(r report.ObjectRef) bool {
	switch r.Kind {
	case "Deployment", "StatefulSet", "ReplicaSet":
		return r.Group == "apps"
	case "ReplicationController":
		return r.Group == ""
	}
	return false
}
