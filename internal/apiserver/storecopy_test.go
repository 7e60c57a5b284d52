package apiserver

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func copied(t *testing.T, dir string) (map[string]string, int64) {
	t.Helper()
	c, err := OpenStoreCopy(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	records := map[string]string{}
	err = c.Each(t.Context(), func(key string, value []byte) error {
		records[key] = string(value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records, c.Revision
}

func TestAStoreIsCopiedWhileItsHubRunsAndAfterAndFillsAnother(t *testing.T) {
	options := Options{DataDir: longDir(t), Keys: t.TempDir(), Listen: freeAddress(t)}
	first := startSecond(t, options)
	client := clientOf(t, first)
	for i := range 3 * storePage / 2 { // more than one page
		if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), configMap(fmt.Sprintf("kept-%d", i)), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	running, revision := copied(t, options.DataDir)
	if _, ok := running["/configmaps/default/kept-0"]; !ok || revision == 0 {
		t.Fatalf("the copy of %d records at revision %d lacks what was stored", len(running), revision)
	}
	stale, err := client.CoreV1().ConfigMaps("default").Get(t.Context(), "kept-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	stopped, last := copied(t, options.DataDir)
	for key := range running {
		if _, ok := stopped[key]; !ok {
			t.Errorf("%s is not in the copy of the stopped hub's store", key)
		}
	}

	restored := options
	restored.DataDir = longDir(t)
	err = FillStore(t.Context(), restored.DataDir, last, func(put func(string, []byte) error) error {
		for key, value := range stopped {
			if err := put(key, []byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	filled, leapt := copied(t, restored.DataDir)
	if !maps.Equal(filled, stopped) || leapt <= last {
		t.Errorf("%d records of %d arrived, at revision %d after %d", len(filled), len(stopped), leapt, last)
	}
	client = clientOf(t, startSecond(t, restored))
	list, err := client.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) < 3*storePage/2 {
		t.Fatalf("%d ConfigMaps: %v", len(list.Items), err)
	}
	for _, kept := range list.Items {
		if version, err := strconv.ParseInt(kept.ResourceVersion, 10, 64); err != nil || version <= last {
			t.Fatalf("%s has version %s, which the store before may have had at revision %d: %v", kept.Name, kept.ResourceVersion, last, err)
		}
	}
	if _, err := client.CoreV1().ConfigMaps("default").Update(t.Context(), stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("a write that knows only the store before: %v", err)
	}
	if _, err := OpenStoreCopy(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "no embedded store") {
		t.Errorf("a directory without a store: %v", err)
	}
}
