package shelf_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/shelf"
)

// ticking is a clock that goes on by a second each time it is asked.
func ticking() func() time.Time {
	var mu sync.Mutex
	at := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		at = at.Add(time.Second)
		return at
	}
}

func TestWhoAsksForTheSameSharesTheAnswerAndTheError(t *testing.T) {
	now := ticking()
	answers := shelf.NewAnswers[int](1000, now)
	var asked int
	say := func(n int, err error) func(context.Context, int) (int, int64, error) {
		return func(_ context.Context, before int) (int, int64, error) {
			asked++
			return before + n, 1, err
		}
	}
	since := now()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := answers.Ask(t.Context(), "a", since, say(1, nil)); got != 1 || err != nil {
				t.Errorf("%d, %v", got, err)
			}
		})
	}
	all.Wait()
	if asked != 1 {
		t.Errorf("the server was asked %d times", asked)
	}
	away := errors.New("away")
	since = now()
	for range 3 {
		if _, err := answers.Ask(t.Context(), "a", since, say(1, away)); !errors.Is(err, away) {
			t.Errorf("got %v", err)
		}
	}
	// What was known before it was away is still of use.
	if got, err := answers.Ask(t.Context(), "a", now(), say(1, nil)); got != 2 || err != nil || asked != 3 {
		t.Errorf("%d, %v after %d", got, err, asked)
	}
	// Who gave up has found out nothing for the others.
	gone, cancel := context.WithCancel(t.Context())
	since = now()
	_, _ = answers.Ask(gone, "a", since, func(context.Context, int) (int, int64, error) { cancel(); return 0, 0, gone.Err() })
	if got, err := answers.Ask(t.Context(), "a", since, say(1, nil)); got != 3 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
}

func TestTheLeastUsedAnswersAreForgottenFirst(t *testing.T) {
	now := ticking()
	answers := shelf.NewAnswers[string](100, now)
	asked := map[string]int{}
	ask := func(key string) {
		if _, err := answers.Ask(t.Context(), key, time.Time{}, func(context.Context, string) (string, int64, error) { asked[key]++; return key, 40, nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a", "b", "a", "c", "a", "b"} {
		ask(key)
	}
	if asked["a"] != 1 || asked["b"] != 2 || asked["c"] != 1 {
		t.Errorf("asked for %v", asked)
	}
}

func TestAFolderIsFilledOnceAndStaysWhileItIsRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "f")
	folders, err := shelf.Open(dir, 100, ticking())
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	filled := map[string]int{}
	get := func(key string) (source.Snapshot, func()) {
		s, release, err := folders.Get(t.Context(), key, func(_ context.Context, dir string) (source.Snapshot, int64, error) {
			mu.Lock()
			defer mu.Unlock()
			filled[key]++
			return source.Snapshot{Path: key}, 60, os.WriteFile(filepath.Join(dir, "a"), []byte(key), 0o600)
		})
		if err != nil {
			t.Error(err)
			return s, func() {}
		}
		if data, err := os.ReadFile(filepath.Join(s.Dir, "a")); string(data) != key || s.Path != key {
			t.Errorf("%s holds %q, %v", s.Dir, data, err)
		}
		return s, release
	}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			_, release := get("a")
			release()
		})
	}
	all.Wait()
	a, release := get("a")
	_, other := get("b") // together they are too much, but a is in use
	other()
	if _, err := os.Stat(filepath.Join(a.Dir, "a")); err != nil {
		t.Errorf("it was taken away from who reads it: %v", err)
	}
	release()
	_, again := get("b")
	again()
	if _, last := get("a"); last != nil {
		last()
	}
	if fmt.Sprint(filled) != "map[a:1 b:2]" && fmt.Sprint(filled) != "map[a:2 b:2]" {
		t.Errorf("filled %v", filled)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("%v stays, %v", left, err)
	}
}

func TestAFolderThatCouldNotBeFilledIsFilledAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "f")
	folders, err := shelf.Open(dir, 100, ticking())
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broke off")
	for _, want := range []error{broken, nil} {
		s, release, err := folders.Get(t.Context(), "a", func(_ context.Context, dir string) (source.Snapshot, int64, error) {
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("it begins with %v, %v", left, err)
			}
			return source.Snapshot{}, 1, errors.Join(os.WriteFile(filepath.Join(dir, "half"), nil, 0o600), want)
		})
		if !errors.Is(err, want) {
			t.Errorf("got %v, not %v", err, want)
		}
		if err == nil {
			release()
			if err := os.RemoveAll(s.Dir); err != nil { // somebody clears the disk
				t.Fatal(err)
			}
		}
	}
	s, release, err := folders.Get(t.Context(), "a", func(_ context.Context, dir string) (source.Snapshot, int64, error) {
		return source.Snapshot{}, 1, os.WriteFile(filepath.Join(dir, "a"), nil, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if _, err := os.Stat(filepath.Join(s.Dir, "a")); err != nil {
		t.Error(err)
	}
}
