package helm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"atoll.dev/atoll/internal/source"
)

// maxEntry bounds one version of a chart in an index of JSON, in bytes.
const maxEntry = 1 << 20

// addJSON takes in what an index of JSON lists, one version at a time: a few
// bytes of it may unfold to thirty times as much.
func (x *index) addJSON(data []byte, versions int) error {
	d, found := json.NewDecoder(bytes.NewReader(data)), false
	err := members(d, func(key string) error {
		if key != "entries" {
			return d.Decode(&json.RawMessage{})
		}
		found = true
		return members(d, func(name string) error {
			return elements(d, func() error { return x.next(d, name, versions) })
		})
	})
	if err == nil && !found {
		return errors.New("index.yaml has no entries")
	}
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.Join(errors.New("something follows its end"), err)
	}
	return fmt.Errorf("index.yaml cannot be read: %s", source.Line(err.Error()))
}

// next takes in one version.
func (x *index) next(d *json.Decoder, chart string, versions int) error {
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return err
	}
	if len(raw) > maxEntry {
		return fmt.Errorf("one version of a chart has more than %d MiB", maxEntry>>20)
	}
	var r *release
	if err := json.Unmarshal(raw, &r); err != nil {
		return err
	}
	return x.take(chart, r, versions)
}

// members goes through an object, or null.
func members(d *json.Decoder, each func(key string) error) error {
	return within(d, '{', func() error {
		key, err := d.Token()
		if err != nil {
			return err
		}
		return each(fmt.Sprint(key))
	})
}

// elements goes through a list, or null.
func elements(d *json.Decoder, each func() error) error { return within(d, '[', each) }

func within(d *json.Decoder, begins json.Delim, each func() error) error {
	token, err := d.Token()
	if err != nil || token == nil {
		return err
	}
	if token != begins {
		return fmt.Errorf("%v stands where %v is to begin", token, begins)
	}
	for d.More() {
		if err := each(); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
