package imagebuild

import (
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// program is a static Linux executable, and what it says about itself.
type program struct {
	path     string
	size     int64
	sha256   string
	platform v1.Platform
	info     *debug.BuildInfo
}

// open reads what a program is, and refuses one that could not run in an image
// that holds nothing else.
func open(path string) (program, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return program{}, fmt.Errorf("read the build information of %s: %w", path, err)
	}
	p := program{path: path, info: info}
	if p.platform, err = platformOf(info); err != nil {
		return program{}, fmt.Errorf("read the platform of %s: %w", path, err)
	}
	if err := standsAlone(path); err != nil {
		return program{}, fmt.Errorf("put %s into an image of its own: %w", path, err)
	}
	p.size, p.sha256, err = measure(path)
	if err != nil {
		return program{}, fmt.Errorf("read %s: %w", path, err)
	}
	return p, nil
}

// platformOf believes what the compiler recorded, so that an image never claims
// a platform that its program was not built for.
func platformOf(info *debug.BuildInfo) (v1.Platform, error) {
	p := v1.Platform{}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS":
			p.OS = s.Value
		case "GOARCH":
			p.Architecture = s.Value
		case "GOARM":
			p.Variant = "v" + s.Value
		}
	}
	if p.OS != "linux" || p.Architecture == "" {
		return v1.Platform{}, fmt.Errorf("it was built for %q on %q; build it with GOOS=linux", p.OS, p.Architecture)
	}
	if p.Architecture == "arm64" {
		p.Variant = "v8"
	}
	return p, nil
}

func standsAlone(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, segment := range f.Progs {
		if segment.Type == elf.PT_INTERP {
			return errors.New("it needs the system's dynamic loader; build it with CGO_ENABLED=0")
		}
	}
	return nil
}

func measure(path string) (int64, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err := io.Copy(h, f)
	return size, hex.EncodeToString(h.Sum(nil)), err
}
