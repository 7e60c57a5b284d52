package component

import (
	"embed"
	"fmt"
	"io/fs"
	"path"

	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/apis/v1alpha1"
	"sigs.k8s.io/yaml"
)

// Each file is one step in the life of a node or pod: what it applies to,
// after how long, and what becomes of the object. At most one step of a kind
// ever applies to an object, so that a life is never a matter of chance.
//
//go:embed stages/*.yaml
var stageFiles embed.FS

func loadStages() (map[internalversion.StageResourceRef][]*internalversion.Stage, error) {
	names, err := fs.Glob(stageFiles, "stages/*.yaml")
	if err != nil {
		return nil, err
	}
	stages := map[internalversion.StageResourceRef][]*internalversion.Stage{}
	for _, name := range names {
		stage, err := loadStage(name)
		if err != nil {
			return nil, fmt.Errorf("load stage %s: %w", path.Base(name), err)
		}
		stages[stage.Spec.ResourceRef] = append(stages[stage.Spec.ResourceRef], stage)
	}
	return stages, nil
}

func loadStage(name string) (*internalversion.Stage, error) {
	data, err := stageFiles.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var stage v1alpha1.Stage
	if err := yaml.UnmarshalStrict(expandFates(data), &stage); err != nil {
		return nil, err
	}
	return internalversion.ConvertToInternalStage(&stage)
}
