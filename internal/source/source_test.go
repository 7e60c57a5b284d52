package source_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
)

func TestTheURLOfARepositoryIsReadAndWhatIsUnsafeIsRefused(t *testing.T) {
	for given, want := range map[string]string{
		"https://git.example.com/team/shop.git":      "https://git.example.com/team/shop.git",
		"https://Git.Example.com:443/team/shop.git/": "https://git.example.com/team/shop.git",
		"https://git.example.com:8443/shop":          "https://git.example.com:8443/shop",
		"https://[2001:db8::1]/shop":                 "https://[2001:db8::1]/shop",
		"ssh://git@git.example.com/team/shop.git":    "ssh://git@git.example.com/team/shop.git",
		"ssh://git.example.com:2222/shop.git":        "ssh://git@git.example.com:2222/shop.git",
		"git@git.example.com:team/shop.git":          "git@git.example.com:team/shop.git",
		"git@git.example.com:/srv/shop.git":          "ssh://git@git.example.com/srv/shop.git",
	} {
		remote, err := source.ParseRemote(given)
		if err != nil || remote.String() != want {
			t.Errorf("%s is read as %s, %v", given, remote, err)
		}
	}
	for given, why := range map[string]string{
		"http://git.example.com/shop":            "use https",
		"git://git.example.com/shop":             "use https",
		"file:///etc":                            "no files of its own machine",
		"/srv/git/shop":                          "no files of its own machine",
		"../shop":                                "no files of its own machine",
		"":                                       "no files of its own machine",
		"https://alice:secret@git.example.com/x": "Secret",
		"ssh://alice:secret@git.example.com/x":   "Secret",
		"https://token@git.example.com/x":        "Secret",
		"https://git.example.com":                "which repository",
		"https://git.example.com/a/../../b":      `".."`,
		"https://git.example.com/a?ref=main":     "neither ? nor #",
		"https://git.example.com/a b":            "space",
		"https:///a":                             "no host name",
		"ext::sh -c id":                          "space",
		"ssh://-oProxyCommand=x/y":               "no host name",
		"git@host:$(id)":                         "shell",
		"git@host:a'b":                           "shell",
		"https://git.example.com/" + strings.Repeat("a", 3000): "more than",
	} {
		if _, err := source.ParseRemote(given); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v; wanted words on %s", given, err, why)
		}
	}
}

func TestAFolderStaysInItsRepository(t *testing.T) {
	for given, want := range map[string]string{"": ".", ".": ".", "./": ".", "deploy": "deploy", "./deploy/": "deploy", "a//b": "a/b", "a/../b": "b"} {
		if got, err := source.Folder(given); err != nil || got != want {
			t.Errorf("%q is %q, %v", given, got, err)
		}
	}
	for _, given := range []string{"/", "/etc", "..", "../x", "a/../../b", ".git", "a/.GIT/hooks", "a\x00b", `a\b`} {
		if got, err := source.Folder(given); err == nil {
			t.Errorf("%q is taken for %q", given, got)
		}
	}
}

func id(n int) string { return fmt.Sprintf("%040x", n) }

func TestAReferenceMeansOneCommit(t *testing.T) {
	refs := source.Refs{
		"HEAD": id(1), "refs/heads/main": id(1), "refs/heads/next": id(2),
		"refs/tags/v1.0.0": id(3), "refs/tags/v1.2.0": id(4), "refs/tags/1.10.0": id(5), "refs/tags/v2.0.0-rc.1": id(6), "refs/tags/latest": id(7),
	}
	for name, c := range map[string]struct {
		ref  v1alpha1.GitRef
		want source.Chosen
		err  string
	}{
		"nothing said is where HEAD points":   {want: source.Chosen{Ref: "HEAD", ID: id(1)}},
		"a branch":                            {ref: v1alpha1.GitRef{Branch: "next"}, want: source.Chosen{Ref: "refs/heads/next", ID: id(2)}},
		"a branch that is not there":          {ref: v1alpha1.GitRef{Branch: "gone"}, err: `no branch "gone"; it has main, next`},
		"a tag":                               {ref: v1alpha1.GitRef{Tag: "v1.0.0"}, want: source.Chosen{Ref: "refs/tags/v1.0.0", ID: id(3)}},
		"a tag is no branch":                  {ref: v1alpha1.GitRef{Tag: "main"}, err: "no tag"},
		"the highest version, not by letters": {ref: v1alpha1.GitRef{Semver: ">=1.0.0"}, want: source.Chosen{Ref: "refs/tags/1.10.0", ID: id(5)}},
		"a range":                             {ref: v1alpha1.GitRef{Semver: "~1.2"}, want: source.Chosen{Ref: "refs/tags/v1.2.0", ID: id(4)}},
		"a release candidate when asked for":  {ref: v1alpha1.GitRef{Semver: ">=2.0.0-0"}, want: source.Chosen{Ref: "refs/tags/v2.0.0-rc.1", ID: id(6)}},
		"a range that nothing is in":          {ref: v1alpha1.GitRef{Semver: ">=3"}, err: "no tag is a version"},
		"a commit":                            {ref: v1alpha1.GitRef{Commit: id(9)}, want: source.Chosen{ID: id(9)}},
		"half a commit":                       {ref: v1alpha1.GitRef{Commit: "abc123"}, err: "all 40"},
		"two at once":                         {ref: v1alpha1.GitRef{Branch: "main", Tag: "v1.0.0"}, err: "at most one"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := refs.Choose(c.ref)
			if c.err == "" && (err != nil || got != c.want) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
	if _, err := (source.Refs{}).Choose(v1alpha1.GitRef{Branch: "main"}); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty repository: %v", err)
	}
}

// What a range chooses must not depend on the order in which a server lists.
func TestARangeChoosesTheSameTagEveryTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		refs := source.Refs{}
		for i, v := range rapid.SliceOf(rapid.StringMatching(`v?[0-3]\.[0-3]\.[0-3](\+[ab])?`)).Draw(t, "tags") {
			refs["refs/tags/"+v] = id(i)
		}
		first, err := refs.Choose(v1alpha1.GitRef{Semver: ">=0"})
		for range 5 {
			again, err2 := refs.Choose(v1alpha1.GitRef{Semver: ">=0"})
			if first != again || (err == nil) != (err2 == nil) {
				t.Fatalf("%v and then %v", first, again)
			}
		}
	})
}

func FuzzParseRemote(f *testing.F) {
	for _, s := range []string{"https://h/p", "ssh://u@h:22/p", "git@h:p/q.git", "git@[::1]:p", "https://h:x/p", "a@b:-x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := source.ParseRemote(s)
		if err != nil {
			return
		}
		if strings.ContainsAny(r.Path, "'\n\x00") || strings.HasPrefix(r.Path, "-") || r.Host == "" || strings.HasPrefix(r.User, "-") {
			t.Errorf("%q gives %+v", s, r)
		}
		again, err := source.ParseRemote(r.String())
		if err != nil || again != r {
			t.Errorf("%q is %q, and that %+v, %v; was %+v", s, r, again, err, r)
		}
	})
}

func FuzzFolder(f *testing.F) {
	f.Add("a/b")
	f.Add("a/../../b")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := source.Folder(s); err == nil && !fs.ValidPath(got) {
			t.Errorf("%q gives %q", s, got)
		}
	})
}

func FuzzCheckRef(f *testing.F) {
	f.Add("main", "v1", ">=1", "abc")
	f.Fuzz(func(t *testing.T, branch, tag, semver, commit string) {
		r := v1alpha1.GitRef{Branch: branch, Tag: tag, Semver: semver, Commit: commit}
		if source.CheckRef(r) == nil {
			_, _ = source.Refs{"HEAD": id(1), "refs/tags/1.0.0": id(2)}.Choose(r)
		}
	})
}

func FuzzLine(f *testing.F) {
	f.Add("one\ntwo")
	f.Add("\x1b[31mred")
	f.Fuzz(func(t *testing.T, s string) {
		if got := source.Line(s); len(got) > 512 || strings.ContainsAny(got, "\n\x1b\x00") || !utf8.ValidString(got) {
			t.Errorf("%q", got)
		}
	})
}

func TestWhatAServerSaysIsShownWithoutWhatATerminalWouldObey(t *testing.T) {
	said := source.Fail(source.Unreachable, "it answers %s", "403 \x1b[2J\rall is well\u202e\xff\nline two").Error()
	if said != "it answers 403 [2Jall is well\nline two" {
		t.Errorf("%q is shown", said)
	}
	if long := source.Refuse(source.SourceRefused, "%s", strings.Repeat("ü", 1<<20)).Error(); len(long) > 8<<10 || !utf8.ValidString(long) {
		t.Errorf("%d bytes are shown", len(long))
	}
}
