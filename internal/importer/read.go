package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// File is a file of YAML or JSON documents.
type File struct {
	Name string
	Data []byte
}

// maxObjects bounds what one import reads.
const maxObjects = 20000

// Read gives the objects of files, lists unwrapped. What is no Kubernetes object
// is left out: folders of such files hold values and kustomizations too.
func Read(files []File) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	for _, f := range files {
		reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(f.Data)))
		for number := 1; ; number++ {
			data, err := reader.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			content := map[string]any{}
			if err == nil {
				err = yaml.Unmarshal(data, &content)
			}
			if err != nil {
				return nil, fmt.Errorf("%s, document %d: %w", f.Name, number, err)
			}
			all = unwrap(all, content)
			if len(all) > maxObjects {
				return nil, fmt.Errorf("more than %d objects: import them in parts", maxObjects)
			}
		}
	}
	return all, nil
}

func unwrap(all []*unstructured.Unstructured, content map[string]any) []*unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: content}
	if items, ok := content["items"].([]any); ok && u.GetKind() != "" {
		for _, item := range items {
			// A list within a list is nothing that an API server prints.
			if m, ok := item.(map[string]any); ok && m["items"] == nil {
				all = unwrap(all, m)
			}
		}
		return all
	}
	if u.GetAPIVersion() == "" || u.GetKind() == "" || u.GetName() == "" {
		return all
	}
	return append(all, u)
}

// title is how an object is named to people.
func title(u *unstructured.Unstructured) string {
	if u.GetNamespace() == "" {
		return u.GetKind() + " " + u.GetName()
	}
	return u.GetKind() + " " + u.GetNamespace() + "/" + u.GetName()
}
