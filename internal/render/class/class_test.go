package class_test

import (
	"errors"
	"sync"
	"testing"

	"atoll.dev/atoll/internal/render/class"
)

var kube133 = class.Capabilities{KubeVersion: "v1.33.4-eks-1", APIVersions: []string{"v1", "apps/v1"}}

func TestAnswers(t *testing.T) {
	tests := []struct{ what, arg, want string }{
		{class.AskVersion, "", "v1.33.4-eks-1"},
		{class.AskNormal, "", "v1.33.4"},
		{class.AskMajor, "", "1"},
		{class.AskMinor, "", "33"},
		{class.AskMatches, ">=1.30.0-0", "true"},
		{class.AskMatches, "<1.30.0", "false"},
		{class.AskMatches, "no range", "false"},
		{class.AskHas, "apps/v1", "true"},
		{class.AskHas, "batch/v1", "false"},
		{class.AskAll, "", "apps/v1,v1"},
		{"something new", "", ""},
	}
	for _, tt := range tests {
		if got := kube133.Answer(tt.what, tt.arg); got != tt.want {
			t.Errorf("%s %q is %q, want %q", tt.what, tt.arg, got, tt.want)
		}
	}
	if got := (class.Capabilities{KubeVersion: "?"}).Answer(class.AskMajor, ""); got != "" {
		t.Errorf("an unreadable version has the major number %q", got)
	}
}

func TestTwoHundredClustersOfTwoClassesAreTwoRenders(t *testing.T) {
	cache := class.NewCache[string](10)
	var all sync.WaitGroup
	for n := range 200 {
		of := kube133
		if n%2 == 1 {
			of.KubeVersion = "v1.30.1"
		}
		all.Go(func() {
			got, err := cache.Get("web", of, func() (string, []class.Query, error) {
				r := class.NewRecord(of)
				minor := r.Ask(class.AskMinor, "")
				return "for 1." + minor, r.Queries(), nil
			})
			if want := "for 1." + of.Answer(class.AskMinor, ""); err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
	all.Wait()
	if got := cache.Stats(); got.Renders != 2 || got.Reused != 198 {
		t.Errorf("counted %+v", got)
	}
}

func TestFailuresAreTriedAgainAndTheLeastUsedIsForgotten(t *testing.T) {
	cache := class.NewCache[int](2)
	get := func(input string, value int, err error) (int, error) {
		return cache.Get(input, kube133, func() (int, []class.Query, error) { return value, nil, err })
	}
	if _, err := get("a", 0, errors.New("broken")); err == nil {
		t.Error("the error of a render was lost")
	}
	for n, input := range []string{"a", "b", "a", "c"} {
		_, _ = get(input, n, nil)
	}
	if got, _ := get("a", 10, nil); got != 0 {
		t.Errorf("a was rendered again, to %d", got)
	}
	if got, _ := get("b", 11, nil); got != 11 {
		t.Errorf("b, the least used of three, was kept as %d", got)
	}
}

func TestKeysTellApartWhatIsNotTheSame(t *testing.T) {
	keys := map[string]bool{}
	for _, queries := range [][]class.Query{nil, {{"a", "b", "c"}}, {{"ab", "", "c"}}, {{"a", "b", ""}, {"", "", "c"}}, {{"a", "bc", ""}}} {
		keys[class.Key("in", queries)] = true
	}
	if len(keys) != 5 {
		t.Errorf("five classes have %d keys", len(keys))
	}
}
