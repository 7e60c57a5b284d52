package git_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/content"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/sandbox/gitserver"
	"atoll.dev/atoll/internal/source"
	"atoll.dev/atoll/internal/source/git"
)

var loopback = egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}

func serve(t *testing.T) *gitserver.Server {
	t.Helper()
	s, err := gitserver.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func create(t *testing.T, s *gitserver.Server, name string) *gitserver.Repository {
	t.Helper()
	r, err := s.Create(name, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func commit(t *testing.T, r *gitserver.Repository, message string, files map[string]string) string {
	t.Helper()
	id, err := r.Commit(message, files)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func run(t *testing.T, r *gitserver.Repository, args ...string) string {
	t.Helper()
	out, err := r.Git(args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func cache(t *testing.T, limits git.Limits) *git.Cache {
	t.Helper()
	c, err := git.Open(filepath.Join(t.TempDir(), "git"), loopback, limits, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// access is a URL with a Secret's contents.
func access(t *testing.T, url string, secret map[string][]byte) git.Access {
	t.Helper()
	remote, err := source.ParseRemote(url)
	if err != nil {
		t.Fatal(err)
	}
	a := git.Access{Remote: remote, Holder: "test"}
	if secret != nil {
		if a.Credentials, err = git.ReadCredentials(remote, "repo", secret); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func overWeb(t *testing.T, s *gitserver.Server, repo string) git.Access {
	t.Helper()
	return access(t, s.URL(repo), map[string][]byte{"ca.crt": s.CA()})
}

func overShell(t *testing.T, s *gitserver.Server, repo string) git.Access {
	t.Helper()
	return access(t, s.ShellURL(repo), map[string][]byte{"identity": s.Identity, "known_hosts": s.KnownHosts()})
}

// fetch is the folder of a reference as it is now.
func fetch(t *testing.T, c *git.Cache, a git.Access, ref v1alpha1.GitRef, folder string) (source.Snapshot, error) {
	t.Helper()
	refs, err := c.Refs(t.Context(), a, time.Now())
	if err != nil {
		return source.Snapshot{}, err
	}
	chosen, err := refs.Choose(ref)
	if err != nil {
		return source.Snapshot{}, err
	}
	s, release, err := c.Fetch(t.Context(), a, chosen, folder)
	if err == nil {
		t.Cleanup(release)
	}
	return s, err
}

func fetched(t *testing.T, c *git.Cache, a git.Access, ref v1alpha1.GitRef, folder string) source.Snapshot {
	t.Helper()
	s, err := fetch(t, c, a, ref, folder)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func reads(t *testing.T, s source.Snapshot, name, want string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.Dir, name))
	if err != nil || string(data) != want {
		t.Errorf("%s of %s is %q, %v; it should be %q", name, s.Revision.ID, data, err, want)
	}
}

func fails(t *testing.T, err error, reason, words string) {
	t.Helper()
	var f *source.Failure
	if !errors.As(err, &f) || f.Reason != reason || !strings.Contains(err.Error(), words) {
		t.Errorf("it fails with %v; wanted %s with %q", err, reason, words)
	}
}

func TestABranchATagARangeAndACommitAreFetchedOverHTTPSAndSSH(t *testing.T) {
	s := serve(t)
	r := create(t, s, "shop")
	first := commit(t, r, "first\n\nwith more words", map[string]string{"deploy/web.yaml": "1", "README.md": "read me"})
	run(t, r, "tag", "v1.0.0")
	commit(t, r, "second", map[string]string{"deploy/web.yaml": "2"})
	run(t, r, "tag", "--annotate", "--message", "release", "v1.1.0")
	last := commit(t, r, "third", map[string]string{"deploy/web.yaml": "3", "deploy/sub/deep.yaml": "deep"})
	for name, a := range map[string]git.Access{"https": overWeb(t, s, "shop"), "ssh": overShell(t, s, "shop")} {
		t.Run(name, func(t *testing.T) {
			c := cache(t, git.DefaultLimits)
			head := fetched(t, c, a, v1alpha1.GitRef{}, "deploy")
			reads(t, head, "deploy/web.yaml", "3")
			reads(t, head, "deploy/sub/deep.yaml", "deep")
			reads(t, head, "README.md", "read me")
			if got := head.Revision; got.ID != "sha1:"+last || got.Message != "third" || got.Author != "Ada <ada@example.com>" || got.Time.IsZero() {
				t.Errorf("the revision is %+v", got)
			}
			if got := fetched(t, c, a, v1alpha1.GitRef{Branch: "main"}, "deploy"); got.Revision.Ref != "refs/heads/main" || got.Dir != head.Dir {
				t.Errorf("the branch is %+v", got)
			}
			reads(t, fetched(t, c, a, v1alpha1.GitRef{Tag: "v1.0.0"}, "."), "deploy/web.yaml", "1")
			released := fetched(t, c, a, v1alpha1.GitRef{Semver: "^1.0"}, ".")
			reads(t, released, "deploy/web.yaml", "2")
			if released.Revision.Message != "second" {
				t.Errorf("an annotated tag is %+v", released.Revision)
			}
			if old := fetched(t, c, a, v1alpha1.GitRef{Commit: first}, "."); old.Revision.Message != "first" {
				t.Errorf("the commit is %+v", old.Revision)
			}
		})
	}
}

func TestANewCommitIsFetchedBesideWhatIsHere(t *testing.T) {
	s := serve(t)
	r := create(t, s, "shop")
	commit(t, r, "0", map[string]string{"a/keeps.yaml": "same", "a/0.yaml": "0"})
	for name, a := range map[string]git.Access{"https": overWeb(t, s, "shop"), "ssh": overShell(t, s, "shop")} {
		t.Run(name, func(t *testing.T) {
			c := cache(t, git.DefaultLimits)
			for i := range 18 { // more than build on each other
				text := fmt.Sprint(name, i)
				commit(t, r, text, map[string]string{"a/0.yaml": text, fmt.Sprintf("a/%d.yaml", i%7): text})
				if i%5 == 4 { // history is replaced
					run(t, r, "reset", "--quiet", "--hard", "HEAD~2")
					commit(t, r, "again "+text, map[string]string{"a/0.yaml": text})
				}
				got := fetched(t, c, a, v1alpha1.GitRef{Branch: "main"}, "a")
				reads(t, got, "a/0.yaml", text)
				reads(t, got, "a/keeps.yaml", "same")
			}
		})
	}
}

func TestWhoRewroteHistoryIsTold(t *testing.T) {
	s := serve(t)
	r := create(t, s, "shop")
	first := commit(t, r, "first", map[string]string{"a": "1"})
	second := commit(t, r, "second", map[string]string{"a": "2"})
	run(t, r, "reset", "--quiet", "--hard", first)
	other := commit(t, r, "other", map[string]string{"a": "3"})
	a, c := overWeb(t, s, "shop"), cache(t, git.DefaultLimits)
	for _, x := range []struct {
		from, to string
		want     git.Ancestry
	}{{first, other, git.Descends}, {second, other, git.Rewritten}} {
		if got, err := c.Ancestry(t.Context(), a, x.from, x.to); err != nil || got != x.want {
			t.Errorf("from %s to %s is %d, %v", x.from, x.to, got, err)
		}
	}
}

func TestManyWhoFollowOneRepositoryCostOneListAndOneFetch(t *testing.T) {
	s := serve(t)
	commit(t, create(t, s, "shop"), "first", map[string]string{"a/x": "1", "b/x": "2"})
	a, c, since := overWeb(t, s, "shop"), cache(t, git.DefaultLimits), time.Now()
	refs, err := c.Refs(t.Context(), a, since)
	if err != nil {
		t.Fatal(err)
	}
	read, release, err := c.Fetch(t.Context(), a, source.Chosen{ID: refs["HEAD"]}, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	// Whoever reads goes on reading the same checkout, whoever comes.
	mark := filepath.Join(read.Dir, "mark")
	if err := os.WriteFile(mark, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			refs, err := c.Refs(t.Context(), a, since)
			if err != nil {
				t.Error(err)
				return
			}
			_, release, err := c.Fetch(t.Context(), a, source.Chosen{ID: refs["HEAD"]}, []string{"a", "b"}[i%2])
			if err != nil {
				t.Error(err)
				return
			}
			release()
		})
	}
	wg.Wait()
	if _, err := os.Stat(mark); err != nil {
		t.Errorf("the commit was checked out again under who reads it: %v", err)
	}
	// The fetch itself lists once more, as the protocol wants.
	if lists, fetches := s.Counts(); lists != 2 || fetches != 1 {
		t.Errorf("the server was asked %d times what it has, and %d times for it", lists, fetches)
	}
}

func TestWhatKeepsARepositoryAwayIsToldWithWhatToDo(t *testing.T) {
	s := serve(t)
	commit(t, create(t, s, "shop"), "first", map[string]string{"a": "1"})
	create(t, s, "empty")
	c, ca := cache(t, git.DefaultLimits), map[string][]byte{"ca.crt": s.CA()}
	refs := func(a git.Access) error {
		t.Helper()
		_, err := c.Refs(t.Context(), a, time.Now())
		return err
	}
	fails(t, refs(access(t, s.URL("shop"), nil)), source.Unreachable, "ca.crt")
	fails(t, refs(access(t, s.URL("gone"), ca)), source.RepositoryNotFound, "is not there")
	fails(t, refs(access(t, strings.Replace(s.URL("shop"), "127.0.0.1", "169.254.169.254", 1), ca)), source.AddressRefused, "credentials")
	fails(t, refs(access(t, "https://127.0.0.1:1/x", ca)), source.Unreachable, "refused")
	_, err := fetch(t, c, access(t, s.URL("empty"), ca), v1alpha1.GitRef{Branch: "main"}, ".")
	if err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty repository: %v", err)
	}
	_, _, err = c.Fetch(t.Context(), access(t, s.URL("shop"), ca), source.Chosen{ID: strings.Repeat("1", 40)}, ".")
	fails(t, err, source.RefNotFound, "111111111111")

	s.Require("right")
	with := func(word string) git.Access {
		return access(t, s.URL("shop"), map[string][]byte{"ca.crt": s.CA(), "username": []byte("ada"), "password": []byte(word)})
	}
	fails(t, refs(with("wrong")), source.CredentialRefused, "renew")
	if err := refs(with("right")); err != nil {
		t.Error(err)
	}
	if err := refs(access(t, s.URL("shop"), map[string][]byte{"ca.crt": s.CA(), "bearerToken": []byte("right")})); err != nil {
		t.Error(err)
	}
	s.Away(true)
	fails(t, refs(with("right")), source.Unreachable, "502")
}

func TestOverSSHOnlyAKnownHostAndAKnownKeyWillDo(t *testing.T) {
	s, other := serve(t), serve(t)
	commit(t, create(t, s, "shop"), "first", map[string]string{"a": "1"})
	c := cache(t, git.DefaultLimits)
	refs := func(a git.Access) error {
		t.Helper()
		_, err := c.Refs(t.Context(), a, time.Now())
		return err
	}
	key := func(identity, known []byte) git.Access {
		return access(t, s.ShellURL("shop"), map[string][]byte{"identity": identity, "known_hosts": known})
	}
	fails(t, refs(access(t, s.ShellURL("shop"), nil)), source.CredentialMissing, "identity")
	fails(t, refs(key(s.Identity, other.KnownHosts())), source.HostKeyUnknown, "no key of")
	// The other's key under this one's name: somebody poses as the host.
	posing := strings.Fields(string(s.KnownHosts()))[0] + " " + strings.Join(strings.Fields(string(other.KnownHosts()))[1:], " ") + "\n"
	fails(t, refs(key(s.Identity, []byte(posing))), source.HostKeyUnknown, "does not have")
	fails(t, refs(key(other.Identity, s.KnownHosts())), source.CredentialRefused, "refuses the key")
	fails(t, refs(access(t, s.ShellURL("gone"), map[string][]byte{"identity": s.Identity, "known_hosts": s.KnownHosts()})), source.RepositoryNotFound, "is not there")
	remote, _ := source.ParseRemote(s.ShellURL("shop"))
	_, err := git.ReadCredentials(remote, "repo", map[string][]byte{"identity": s.Identity})
	fails(t, err, source.HostKeyUnknown, "known_hosts")
	_, err = git.ReadCredentials(remote, "repo", map[string][]byte{"identity": []byte("SECRET-CANARY"), "known_hosts": s.KnownHosts()})
	fails(t, err, source.CredentialMissing, "no private key")
	if strings.Contains(err.Error(), "CANARY") {
		t.Errorf("the key is in %v", err)
	}
}

func TestWhatIsNoPlainFileIsRefusedWhereItMatters(t *testing.T) {
	s := serve(t)
	r := create(t, s, "odd")
	commit(t, r, "files", map[string]string{
		"ok/web.yaml": "ok", "lfs/big.yaml": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
		"links/here.yaml": "here", "out/x": "x", "abs/x": "x", "across/x": "x", "chain/x": "x",
	})
	for link, to := range map[string]string{"links/also.yaml": "here.yaml", "out/link.yaml": "../../etc/passwd", "abs/link": "/etc/passwd", "across/link": "../ok/web.yaml", "chain/one": "two", "chain/two": "one"} {
		if err := os.Symlink(to, filepath.Join(r.Dir(), link)); err != nil {
			t.Fatal(err)
		}
	}
	head := commit(t, r, "links", nil)
	run(t, r, "update-index", "--add", "--cacheinfo", "160000,"+head+",module/inner")
	run(t, r, "commit", "--quiet", "--message", "submodule")
	if _, err := r.Push(); err != nil {
		t.Fatal(err)
	}
	a, c := overWeb(t, s, "odd"), cache(t, git.DefaultLimits)
	ok := fetched(t, c, a, v1alpha1.GitRef{}, "ok")
	reads(t, ok, "ok/web.yaml", "ok")
	if _, err := os.Stat(filepath.Join(ok.Dir, "lfs/big.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what stands for a file in Git LFS is there: %v", err)
	}
	reads(t, fetched(t, c, a, v1alpha1.GitRef{}, "links"), "links/also.yaml", "here")
	for folder, why := range map[string]string{
		"lfs": "Git LFS", "out": "out of the repository", "abs": "out of the repository", "across": "out of the folder", "chain": "not followed",
		"module": "submodule", "module/inner": "submodule", "module/inner/deeper": "submodule", ".": "", "nowhere": "no folder", "ok/web.yaml": "is a file",
	} {
		_, err := fetch(t, c, a, v1alpha1.GitRef{}, folder)
		fails(t, err, source.SourceRefused, why)
	}
	err := filepath.WalkDir(ok.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !d.Type().IsRegular() {
			t.Errorf("%s is %s", path, d.Type())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestARepositoryThatIsTooLargeIsRefused(t *testing.T) {
	s := serve(t)
	r := create(t, s, "large")
	commit(t, r, "files", map[string]string{"a/zeros.yaml": strings.Repeat("0", 4<<20), "b/one": "1", "c/d/e/f/deep": "1"})
	a := overWeb(t, s, "large")
	for name, c := range map[string]struct {
		change func(*git.Limits)
		folder string
		why    string
	}{
		"an object that unfolds to more": {func(l *git.Limits) { l.Object = 1 << 20 }, ".", "a file of more than 1 MiB"},
		"all objects together":           {func(l *git.Limits) { l.Inflated = 1 << 20 }, ".", "unfolds to more"},
		"too many objects":               {func(l *git.Limits) { l.Objects = 3 }, ".", "objects in one commit"},
		"a pack":                         {func(l *git.Limits) { l.Pack = 100 }, ".", "sends more than"},
		"too many files":                 {func(l *git.Limits) { l.Files = 2 }, ".", "more than 2 files"},
		"their bytes":                    {func(l *git.Limits) { l.Bytes = 1 << 20 }, ".", "more than 1 MiB"},
		"a file of the folder":           {func(l *git.Limits) { l.File = 1 << 20 }, "a", "zeros.yaml has 4194304 bytes"},
		"a deep tree":                    {func(l *git.Limits) { l.Depth = 2 }, "c", "folders deep"},
	} {
		t.Run(name, func(t *testing.T) {
			limits := git.DefaultLimits
			c.change(&limits)
			_, err := fetch(t, cache(t, limits), a, v1alpha1.GitRef{}, c.folder)
			var f *source.Failure
			if !errors.As(err, &f) || !f.Lasting || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v", err)
			}
		})
	}
	limits := git.DefaultLimits
	limits.File = 1 << 20
	if _, err := fetch(t, cache(t, limits), a, v1alpha1.GitRef{}, "b"); err != nil {
		t.Errorf("a file that nobody asked for is in the way: %v", err)
	}
	limits = git.DefaultLimits
	limits.Refs = 50
	_, err := cache(t, limits).Refs(t.Context(), a, time.Now())
	fails(t, err, source.TooLarge, "branches")
}

func TestTheCacheForgetsWhatIsUsedLeastAndKeepsWhatIsRead(t *testing.T) {
	s := serve(t)
	limits := git.DefaultLimits
	limits.Repositories = 2
	dir := filepath.Join(t.TempDir(), "git")
	c, err := git.Open(dir, loopback, limits, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var pinned source.Snapshot
	for i := range 5 {
		name := fmt.Sprint("repo", i)
		commit(t, create(t, s, name), name, map[string]string{"a": name})
		refs, err := c.Refs(t.Context(), overWeb(t, s, name), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		snapshot, release, err := c.Fetch(t.Context(), overWeb(t, s, name), source.Chosen{ID: refs["HEAD"]}, ".")
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			pinned = snapshot
			t.Cleanup(release)
		} else {
			release()
		}
	}
	reads(t, pinned, "a", "repo0")
	if kept, err := os.ReadDir(dir); err != nil || len(kept) > 3 {
		t.Errorf("%d repositories are kept: %v", len(kept), err)
	}
}

func TestWhatSomebodyClearedAwayIsFetchedAgain(t *testing.T) {
	s := serve(t)
	commit(t, create(t, s, "shop"), "first", map[string]string{"deploy/a": "1"})
	dir := filepath.Join(t.TempDir(), "git")
	c, err := git.Open(dir, loopback, git.DefaultLimits, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		reads(t, fetched(t, c, overWeb(t, s, "shop"), v1alpha1.GitRef{}, "deploy"), "deploy/a", "1")
		kept, err := os.ReadDir(dir)
		if err != nil || len(kept) == 0 {
			t.Fatal(kept, err)
		}
		for _, e := range kept {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestWhatCouldNotBeCheckedOutCountsOnTheDisk(t *testing.T) {
	s := serve(t)
	limits := git.DefaultLimits
	limits.Files, limits.Disk = 1, 1<<20
	dir := filepath.Join(t.TempDir(), "git")
	c, err := git.Open(dir, loopback, limits, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // never fails
	for i := range 3 {
		name := fmt.Sprint("repo", i)
		commit(t, create(t, s, name), name, map[string]string{"a": string(noise), "b": "1"})
		_, err := fetch(t, c, overWeb(t, s, name), v1alpha1.GitRef{}, ".")
		fails(t, err, source.TooLarge, "files")
	}
	var left int64
	err = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			info, infoErr := d.Info()
			left, err = left+info.Size(), infoErr
		}
		return err
	})
	if err != nil || left > limits.Disk {
		t.Errorf("%d bytes are left: %v", left, err)
	}
}

func TestAServerThatNeverAnswersIsLeftInTime(t *testing.T) {
	s := serve(t)
	commit(t, create(t, s, "shop"), "first", map[string]string{"a": "1"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := cache(t, git.DefaultLimits)
	if _, err := c.Refs(ctx, overWeb(t, s, "shop"), time.Now()); err == nil {
		t.Error("it did not end with its context")
	}
	// That somebody gave up is nobody else's error.
	if _, err := c.Refs(t.Context(), overWeb(t, s, "shop"), time.Time{}); err != nil {
		t.Error(err)
	}
}

// It re-executes itself, so that what git itself takes is not counted.
func TestARepositoryOfTenThousandFilesStaysWithinHalfAGigabyte(t *testing.T) {
	const url, ca = "ATOLL_TEST_GIT_URL", "ATOLL_TEST_GIT_CA"
	if os.Getenv(url) != "" {
		a := access(t, os.Getenv(url), map[string][]byte{"ca.crt": []byte(os.Getenv(ca))})
		got := fetched(t, cache(t, git.DefaultLimits), a, v1alpha1.GitRef{}, "d42")
		reads(t, got, "d42/f42.yaml", strings.Repeat("line 4242\n", 400))
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		var peak int
		for line := range strings.Lines(string(status)) {
			_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &peak)
		}
		t.Logf("the peak was %d MB", peak>>10)
		if peak>>10 >= 500 {
			t.Errorf("it took %d MB", peak>>10)
		}
		return
	}
	s := serve(t)
	files := map[string]string{}
	for i := range 100 {
		for j := range 100 {
			files[fmt.Sprintf("d%d/f%d.yaml", i, j)] = strings.Repeat(fmt.Sprintf("line %d\n", i*100+j), 400)
		}
	}
	commit(t, create(t, s, "large"), "large", files)
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), url+"="+s.URL("large"), ca+"="+string(s.CA()))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

// Whoever fetches a commit, by whatever way and on whatever is here already,
// has the same content: what clusters run depends on nothing else.
func TestOneCommitIsOneContentHoweverItIsFetched(t *testing.T) {
	s := serve(t)
	r := create(t, s, "shop")
	file := func(name string, n int) string {
		return fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {name: %q}, data: {n: %q}}\n", name, fmt.Sprint(n))
	}
	long := cache(t, git.DefaultLimits)
	for i := range 3 {
		commit(t, r, fmt.Sprint(i), map[string]string{"a/x.yaml": file("x", i), "a/y.yaml": file("y", 7), "a/z/w.yaml": file("w", i*i)})
		digests := map[string][]string{}
		for name, got := range map[string]source.Snapshot{
			"beside what was there": fetched(t, long, overWeb(t, s, "shop"), v1alpha1.GitRef{}, "a"),
			"alone":                 fetched(t, cache(t, git.DefaultLimits), overWeb(t, s, "shop"), v1alpha1.GitRef{}, "a"),
			"over ssh":              fetched(t, cache(t, git.DefaultLimits), overShell(t, s, "shop"), v1alpha1.GitRef{}, "a"),
		} {
			digest := digestOf(t, got)
			digests[digest] = append(digests[digest], name)
		}
		if len(digests) != 1 {
			t.Errorf("commit %d has several contents: %v", i, digests)
		}
	}
}

// digestOf is of the manifests in whatever order they are read.
func digestOf(t *testing.T, s source.Snapshot) string {
	t.Helper()
	var files []content.File
	err := filepath.WalkDir(filepath.Join(s.Dir, s.Path), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files = append(files, content.File{Name: d.Name(), Data: data})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var digest string
	rapid.Check(t, func(t *rapid.T) {
		parsed, err := content.Parse(rapid.Permutation(files).Draw(t, "order"), content.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := string(desired.Sum(parsed.Bundle.Encode()))
		if digest != "" && got != digest {
			t.Fatalf("the order of the files matters: %s and %s", digest, got)
		}
		digest = got
	})
	return digest
}
