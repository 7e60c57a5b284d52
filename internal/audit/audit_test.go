package audit

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	data, err := DeriveKey([]byte(rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	key, err := ParseKey(data)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func options(t testing.TB, dir string) Options {
	t.Helper()
	return Options{Dir: dir, Key: testKey(t), Now: time.Now, Hub: "hub-1"}
}

func opened(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closed(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func public(o Options) ed25519.PublicKey { return o.Key.Public().(ed25519.PublicKey) }

func act(i int) Record {
	return Record{User: "ada", Verb: "update", Group: "atoll.dev", Resource: "applications", Namespace: "demo", Name: fmt.Sprintf("shop-%d", i), Result: Admitted}
}

// logged is a closed log of n acts in files of a few records each.
func logged(t testing.TB, n int) Options {
	t.Helper()
	o := options(t, filepath.Join(t.TempDir(), "audit"))
	o.SegmentBytes = 2000
	l := opened(t, o)
	for i := range n {
		if err := l.Append(context.Background(), act(i)); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, l)
	return o
}

func verdict(t testing.TB, o Options) Verdict {
	t.Helper()
	v, err := Verify(context.Background(), o.Dir, public(o))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func all(t testing.TB, o Options, q Query) []Record {
	t.Helper()
	var out []Record
	for {
		page, err := Read(context.Background(), o.Dir, q)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, page.Records...)
		if page.Next == 0 {
			return out
		}
		q.From = page.Next
	}
}

func TestWhatIsAppendedAtOnceIsOneChainWithoutLossAndSurvivesARestart(t *testing.T) {
	o := options(t, t.TempDir())
	o.SegmentBytes = 4000
	l := opened(t, o)
	const writers, each = 16, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := l.Append(context.Background(), act(w*each+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 { // while others write
		v, err := l.Verify(t.Context())
		if err != nil || len(v.Findings) > 0 {
			t.Errorf("a log in use: %v, %q", err, v.Findings)
		}
		if _, err := l.Query(t.Context(), Query{User: "ada"}); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	closed(t, l)
	if err := l.Append(context.Background(), act(0)); err == nil {
		t.Error("a closed log takes a record")
	}
	l = opened(t, o)
	if err := l.Append(context.Background(), act(writers*each)); err != nil {
		t.Fatal(err)
	}
	closed(t, l)
	v := verdict(t, o)
	if len(v.Findings)+len(v.Notes) > 0 || v.Records != writers*each+3 || v.Files < 3 {
		t.Errorf("%+v", v)
	}
	names := map[string]bool{}
	for _, r := range all(t, o, Query{Verb: "update", Limit: 7}) {
		names[r.Name] = true
	}
	if len(names) != writers*each+1 {
		t.Errorf("%d acts are found, not %d", len(names), writers*each+1)
	}
}

func TestOnlyOneProcessHasALog(t *testing.T) {
	o := options(t, t.TempDir())
	l := opened(t, o)
	defer closed(t, l)
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "in use by another hub") {
		t.Errorf("a second hub writes to the log of the first: %v", err)
	}
}

// lines are the files of a log, as somebody who tampers has them.
type lines struct {
	*testing.T
	o     Options
	files []segment
}

func (l *lines) read(i int) []string {
	l.Helper()
	data, err := os.ReadFile(l.files[i].path)
	if err != nil {
		l.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(data), "\n"), "\n")
}

func (l *lines) write(i int, content []string) {
	l.Helper()
	text := strings.Join(content, "")
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if err := os.WriteFile(l.files[i].path, []byte(text), 0o600); err != nil {
		l.Fatal(err)
	}
}

// rehash writes every record from the file i on anew, as whoever knows the format can.
func (l *lines) rehash(alter func(*Record) bool) {
	l.Helper()
	var at link
	for i := range l.files {
		var out []string
		for _, line := range l.read(i) {
			r, err := decode([]byte(line))
			if err != nil {
				l.Fatal(err)
			}
			if at.seq == 0 {
				at.hash = r.Previous
			}
			if !alter(&r) {
				continue
			}
			next, place, err := encode(r, at)
			if err != nil {
				l.Fatal(err)
			}
			out, at = append(out, string(next)), place
		}
		l.write(i, out)
	}
}

func TestEachTamperingIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		tamper func(*lines)
		want   string
	}{
		"a record is removed": {func(l *lines) {
			f := l.read(1)
			l.write(1, append(f[:1:1], f[2:]...))
		}, "missing: record"},
		"a record is changed": {func(l *lines) {
			f := l.read(1)
			f[1] = strings.Replace(f[1], `"user":"ada"`, `"user":"eve"`, 1)
			l.write(1, f)
		}, "does not have the hash that it says"},
		"records change places": {func(l *lines) {
			f := l.read(1)
			f[0], f[1] = f[1], f[0]
			l.write(1, f)
		}, "was inserted or moved"},
		"a record is inserted twice": {func(l *lines) {
			f := l.read(1)
			l.write(1, append(f[:2:2], f[1:]...))
		}, "was inserted or moved"},
		"a new record is inserted and all after it are written anew": {func(l *lines) {
			l.rehash(func(r *Record) bool {
				if r.Name == "shop-3" {
					r.User = "eve"
				}
				return true
			})
		}, "written anew"},
		"a record is left out and all after it are written anew": {func(l *lines) {
			l.rehash(func(r *Record) bool { return r.Name != "shop-3" })
		}, "cut off: record"},
		"the last records are cut off": {func(l *lines) {
			f := l.read(len(l.files) - 1)
			l.write(len(l.files)-1, f[:len(f)-1])
		}, "cut off: record 21"},
		"the last file is removed": {func(l *lines) {
			if err := os.Remove(l.files[len(l.files)-1].path); err != nil {
				l.Fatal(err)
			}
		}, "cut off: record"},
		"the first file is removed": {func(l *lines) {
			if err := os.Remove(l.files[0].path); err != nil {
				l.Fatal(err)
			}
		}, "missing: records 1 to"},
		"a file is replaced by another log's": {func(l *lines) {
			other := logged(l.T, 20)
			f, err := segments(other.Dir)
			if err != nil {
				l.Fatal(err)
			}
			data, err := os.ReadFile(f[1].path)
			if err != nil {
				l.Fatal(err)
			}
			if err := os.WriteFile(l.files[1].path, data, 0o600); err != nil {
				l.Fatal(err)
			}
		}, "does not follow the record"},
		"the whole log is another one's, with its head": {func(l *lines) {
			other := logged(l.T, 20)
			if err := errors.Join(os.RemoveAll(l.o.Dir), os.CopyFS(l.o.Dir, os.DirFS(other.Dir))); err != nil {
				l.Fatal(err)
			}
		}, "not signed by the key"},
		"the head is forged for a shorter log": {func(l *lines) {
			head, err := readHead(l.o.Dir, public(l.o))
			if err != nil {
				l.Fatal(err)
			}
			head.Last--
			if err := errors.Join(prepareHead(l.o.Dir, head), exchangeHead(l.o.Dir)); err != nil {
				l.Fatal(err)
			}
		}, "not signed by the key"},
		"the head is removed": {func(l *lines) {
			if err := os.Remove(filepath.Join(l.o.Dir, headName)); err != nil {
				l.Fatal(err)
			}
		}, "signed head is missing"},
		"a record is added behind the head": {func(l *lines) {
			f := l.read(len(l.files) - 1)
			place, _, err := parse([]byte(strings.TrimSuffix(f[len(f)-1], "\n")))
			if err != nil {
				l.Fatal(err)
			}
			added, _, err := encode(act(99), place)
			if err != nil {
				l.Fatal(err)
			}
			l.write(len(l.files)-1, append(f, "\n"+string(added)))
		}, "not signed: record 22"},
		"rubbish stands at the end": {func(l *lines) {
			f := l.read(len(l.files) - 1)
			l.write(len(l.files)-1, append(f, "\n\n"))
		}, "it was changed"},
	} {
		t.Run(name, func(t *testing.T) {
			o := logged(t, 20)
			if v := verdict(t, o); len(v.Findings) > 0 {
				t.Fatalf("before anything is done to it: %q", v.Findings)
			}
			files, err := segments(o.Dir)
			if err != nil {
				t.Fatal(err)
			}
			c.tamper(&lines{t, o, files})
			v := verdict(t, o)
			if !strings.Contains(strings.Join(v.Findings, "\n"), c.want) {
				t.Errorf("found %q, not %q", v.Findings, c.want)
			}
			// A hub that starts on it goes on, and does not make it good.
			if strings.Contains(name, "behind the head") {
				return // that is how a killed hub leaves it
			}
			l := opened(t, o)
			if err := l.Append(t.Context(), act(100)); err != nil {
				t.Fatal(err)
			}
			closed(t, l)
			if name == "rubbish stands at the end" {
				return // kept aside, as after a crash
			}
			if v := verdict(t, o); len(v.Findings) == 0 {
				t.Error("after a restart nothing is found any more")
			}
		})
	}
}

func TestAHubThatWasKilledLeavesALogThatGoesOn(t *testing.T) {
	for name, c := range map[string]struct {
		leave func(*testing.T, Options, segment)
		note  string
	}{
		"in the middle of a record": {func(t *testing.T, _ Options, last segment) {
			add(t, last.path, `{"seq":99,"prev":"`)
		}, "is no record"},
		"before the head was signed": {func(t *testing.T, o Options, last segment) {
			before, err := os.ReadFile(filepath.Join(o.Dir, headName))
			if err != nil {
				t.Fatal(err)
			}
			l := opened(t, o)
			if err := l.Append(t.Context(), act(7)); err != nil {
				t.Fatal(err)
			}
			closed(t, l)
			if err := os.WriteFile(filepath.Join(o.Dir, headName), before, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "after the last head"},
		"with zeros where a record should be": {func(t *testing.T, _ Options, last segment) {
			add(t, last.path, strings.Repeat("\x00", 512)+"\n"+strings.Repeat("\x00", 100))
		}, "is no record"},
		"when the next file was begun": {func(t *testing.T, _ Options, last segment) {
			add(t, segmentAt(filepath.Dir(last.path), 100).path, `{"se`)
		}, "is no record"},
	} {
		t.Run(name, func(t *testing.T) {
			o := logged(t, 3)
			files, err := segments(o.Dir)
			if err != nil {
				t.Fatal(err)
			}
			c.leave(t, o, files[len(files)-1])
			if v := verdict(t, o); len(v.Findings) == 0 {
				t.Error("a log that nobody went on with is said to be whole")
			}
			l := opened(t, o)
			if err := l.Append(t.Context(), act(8)); err != nil {
				t.Fatal(err)
			}
			closed(t, l)
			v := verdict(t, o)
			if len(v.Findings) > 0 || !strings.Contains(strings.Join(v.Notes, "\n"), c.note) {
				t.Errorf("findings %q, notes %q", v.Findings, v.Notes)
			}
			if got := all(t, o, Query{Name: "shop-8"}); len(got) != 1 {
				t.Errorf("what was recorded then: %v", got)
			}
		})
	}
}

func add(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = f.WriteString(text); errors.Join(err, f.Close()) != nil {
		t.Fatal(err)
	}
}

// fullDisk is a file on a disk that is full for a while: half of what is written fits.
type fullDisk struct {
	file
	full *atomic.Bool
}

func (f fullDisk) WriteAt(data []byte, at int64) (int, error) {
	if f.full.Load() {
		n, _ := f.file.WriteAt(data[:len(data)/2], at)
		return n, syscall.ENOSPC
	}
	return f.file.WriteAt(data, at)
}

func TestAFullDiskIsNeverSilent(t *testing.T) {
	for _, lenient := range []bool{false, true} {
		t.Run(fmt.Sprintf("lenient %t", lenient), func(t *testing.T) {
			var full atomic.Bool
			var said []string
			var mu sync.Mutex
			o := options(t, t.TempDir())
			o.Lenient = lenient
			o.open = func(path string) (file, error) {
				f, err := openFile(path)
				return fullDisk{f, &full}, err
			}
			o.Complain = func(err error) { mu.Lock(); defer mu.Unlock(); said = append(said, fmt.Sprint(err)) }
			l := opened(t, o)
			full.Store(true)
			for i := range 3 {
				if err := l.Append(t.Context(), act(i)); lenient != (err == nil) {
					t.Errorf("on a full disk: %v", err)
				}
			}
			if err := l.Ready(t.Context()); lenient != (err == nil) {
				t.Errorf("on a full disk it says of itself: %v", err)
			}
			full.Store(false)
			if err := l.Ready(t.Context()); err != nil {
				t.Errorf("with room again: %v", err)
			}
			if err := l.Append(t.Context(), act(4)); err != nil {
				t.Error(err)
			}
			closed(t, l)
			v := verdict(t, o)
			if len(v.Findings) > 0 || len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "3 acts were not recorded") || !strings.Contains(v.Notes[0], "no space") {
				t.Errorf("findings %q, notes %q", v.Findings, v.Notes)
			}
			if len(said) != 2 || !strings.Contains(said[0], "no space") || said[1] != "<nil>" {
				t.Errorf("the hub's own log was told %q", said)
			}
			if got := all(t, o, Query{Verb: "update"}); len(got) != 1 {
				t.Errorf("recorded is %v", got)
			}
		})
	}
}

// A hub is there for more than its log: on a full disk it starts, and what it had to say
// then is in the log before anything else.
func TestALogIsOpenedOnAFullDisk(t *testing.T) {
	var full atomic.Bool
	o := options(t, t.TempDir())
	closed(t, opened(t, o))
	o.open = func(path string) (file, error) {
		f, err := openFile(path)
		return fullDisk{f, &full}, err
	}
	full.Store(true)
	l := opened(t, o)
	if err := l.Append(t.Context(), act(1)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("on a full disk: %v", err)
	}
	if page, err := l.Query(t.Context(), Query{}); err != nil || len(page.Records) != 1 {
		t.Errorf("on a full disk nothing is found: %+v, %v", page, err)
	}
	full.Store(false)
	if err := l.Ready(t.Context()); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := l.Append(t.Context(), act(2)); err != nil {
		t.Error(err)
	}
	closed(t, l)
	var verbs []string
	for _, r := range all(t, o, Query{}) {
		verbs = append(verbs, r.Verb)
	}
	if want := []string{Started, Started, Gap, "update"}; !slices.Equal(verbs, want) {
		t.Errorf("recorded are %q, not %q", verbs, want)
	}
	if v := verdict(t, o); len(v.Findings) > 0 {
		t.Errorf("found %q", v.Findings)
	}
}

func TestRecordsAreFoundByWhoWhatAndWhen(t *testing.T) {
	o := options(t, t.TempDir())
	o.SegmentBytes = 1
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	minutes := 0
	o.Now = func() time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	l := opened(t, o)
	for i, r := range []Record{
		{User: "ada", Verb: "update", Resource: "applications", Namespace: "demo", Name: "shop"},
		{User: "system:serviceaccount:ci:bot", Impersonator: "eve", Verb: "create", Resource: "secrets", Namespace: "bank", Name: "keys"},
		{User: "ada", Verb: "create", Cluster: "eu-1", Resource: "pods", Subresource: "exec", Namespace: "demo", Name: "web-1"},
		{User: "bob", Verb: "update", Resource: "clusters", Name: "eu-1"},
	} {
		minutes = i + 1
		if err := l.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	closed(t, l)
	for name, c := range map[string]struct {
		q    Query
		want string
	}{
		"by user":                               {Query{User: "ada"}, "applications/shop pods/exec/web-1"},
		"by who acted in another's name":        {Query{User: "eve"}, "secrets/keys"},
		"by object":                             {Query{Resource: "applications", Name: "shop"}, "applications/shop"},
		"by cluster, with what was done inside": {Query{Resource: "clusters", Name: "eu-1"}, "pods/exec/web-1 clusters/eu-1"},
		"by project":                            {Query{Namespace: "demo"}, "applications/shop pods/exec/web-1"},
		"by time":                               {Query{Since: noon.Add(2 * time.Minute), Until: noon.Add(4 * time.Minute)}, "secrets/keys pods/exec/web-1"},
		"by verb, one at a time":                {Query{Verb: "update", Limit: 1}, "applications/shop clusters/eu-1"},
	} {
		var got []string
		for _, r := range all(t, o, c.q) {
			got = append(got, r.What())
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A file that was begun and holds nothing yet, or begins with what is no record, hides
// nothing of what was recorded before.
func TestAFileWithoutABeginningHidesNoRecords(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "damaged": "x\n"} {
		o := logged(t, 3)
		if err := os.WriteFile(segmentAt(o.Dir, 1000).path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := all(t, o, Query{Verb: "update", Since: time.Now().Add(-time.Hour)}); len(got) != 3 {
			t.Errorf("%s: %d of 3 records are found", name, len(got))
		}
	}
}
