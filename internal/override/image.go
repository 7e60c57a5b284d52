package override

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
)

// containerLists are the fields, in pods and in whatever makes pods, that hold
// containers.
var containerLists = []string{"containers", "initContainers"}

func setImage(objects []content.Object, image v1alpha1.ImageOverride) error {
	if image.NewName == "" && image.NewTag == "" && image.Digest == "" {
		return errors.New(": give newName, newTag or digest")
	}
	used := false
	for i, o := range objects {
		if !bytes.Contains(o.Manifest, []byte(`"image":`)) {
			continue
		}
		var fields map[string]any
		if err := decode(o.Manifest, &fields); err != nil {
			return fmt.Errorf(": read %s: %w", o.Ref, err)
		}
		if !replaceImages(fields, image) {
			continue
		}
		used = true
		var err error
		if objects[i], err = rewrite(o, fields); err != nil {
			return fmt.Errorf(": %s %w", o.Ref, err)
		}
	}
	if !used {
		return fmt.Errorf(".name: no container has the image %s", image.Name)
	}
	return nil
}

// replaceImages goes through all that lies in v, and reports whether an image
// of that name was there.
func replaceImages(v any, image v1alpha1.ImageOverride) bool {
	used := false
	switch v := v.(type) {
	case map[string]any:
		for _, field := range containerLists {
			containers, _ := v[field].([]any)
			for _, c := range containers {
				container, _ := c.(map[string]any)
				text, _ := container["image"].(string)
				if name, tag, digest := splitImage(text); text != "" && name == image.Name {
					container["image"], used = joinImage(image, name, tag, digest), true
				}
			}
		}
		for _, child := range v {
			used = replaceImages(child, image) || used
		}
	case []any:
		for _, child := range v {
			used = replaceImages(child, image) || used
		}
	}
	return used
}

// splitImage takes an image apart; tag and digest come with what leads to them.
// What is bound late stays whole.
func splitImage(text string) (name, tag, digest string) {
	plain := text
	if i := strings.Index(plain, "${"); i >= 0 {
		plain = plain[:i]
	}
	end := len(text)
	if i := strings.IndexByte(plain, '@'); i >= 0 {
		digest, end = text[i:], i
		plain = plain[:i]
	}
	if i := strings.IndexByte(plain[strings.LastIndexByte(plain, '/')+1:], ':'); i >= 0 {
		i += strings.LastIndexByte(plain, '/') + 1
		tag, end = text[i:end], i
	}
	return text[:end], tag, digest
}

func joinImage(image v1alpha1.ImageOverride, name, tag, digest string) string {
	if image.NewName != "" {
		name = image.NewName
	}
	switch {
	case image.Digest != "":
		return name + "@" + image.Digest
	case image.NewTag != "":
		return name + ":" + image.NewTag
	}
	return name + tag + digest
}

// decode keeps numbers as they are written.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(into)
}

func rewrite(o content.Object, fields map[string]any) (content.Object, error) {
	data, err := json.Marshal(fields)
	if err != nil {
		return o, err
	}
	return o.Rewritten(data)
}
