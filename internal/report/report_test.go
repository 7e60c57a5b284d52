package report_test

import (
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

func well(app string) report.State {
	return report.State{Key: desired.Key{Project: "demo", Application: app}, Entry: desired.Sum([]byte(app)), Sync: report.InSync, Health: report.HealthHealthy, Objects: 3, Applied: 3, Ready: 3}
}

func TestTheWorstStandsFirst(t *testing.T) {
	order := []report.State{
		{Sync: report.Failed, Health: report.HealthHealthy}, {Sync: report.Held, Health: report.HealthDegraded},
		{Sync: report.Held, Health: report.HealthHealthy}, {Sync: report.Drifted}, {Sync: report.Progressing},
		{Sync: report.InSync, Health: report.HealthDegraded}, {Sync: report.InSync, Health: report.HealthUnknown},
		{Sync: report.InSync, Health: report.HealthProgressing}, {Sync: report.InSync, Health: report.HealthHealthy},
		{Sync: report.Withdrawn},
	}
	for i := 1; i < len(order); i++ {
		if report.Worse(order[i-1], order[i]) >= 0 || report.Worse(order[i], order[i-1]) <= 0 {
			t.Errorf("%v does not stand before %v", order[i-1], order[i])
		}
	}
}

// A field that Equal forgets would be one that an agent never tells of.
func TestStatesDifferWhereTheirDigestsDo(t *testing.T) {
	var zero report.State
	fields := reflect.TypeFor[report.State]()
	for i := range fields.NumField() {
		changed := zero
		switch f := reflect.ValueOf(&changed).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		case reflect.Int32, reflect.Int64:
			f.SetInt(1)
		case reflect.Slice:
			f.Set(reflect.MakeSlice(f.Type(), 1, 1))
		case reflect.Pointer:
			f.Set(reflect.New(f.Type().Elem()))
		case reflect.Struct:
			f.Field(0).SetString("x")
		default:
			t.Fatalf("%s is a %s: try it here", fields.Field(i).Name, f.Kind())
		}
		if changed.Digest() == zero.Digest() {
			t.Errorf("%s is in no digest", fields.Field(i).Name)
		}
		if changed.Equal(zero) || zero.Equal(changed) || !changed.Equal(changed) {
			t.Errorf("%s makes no difference", fields.Field(i).Name)
		}
	}
	a, b := zero, zero
	a.Verification, b.Verification = &report.Verification{Message: "x"}, &report.Verification{Message: "x"}
	if !a.Equal(b) {
		t.Error("equal verifications differ")
	}
}

func TestBoundedStatesPassTheCheckWhateverAMemberSays(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.Custom(func(t *rapid.T) string {
		return strings.Repeat(rapid.SampledFrom([]string{"é", "x", "\xff", "日本"}).Draw(t, "unit"), rapid.IntRange(0, 3000).Draw(t, "times"))
	}))
	rapid.Check(t, func(t *rapid.T) {
		s := well("a")
		s.Message = text.Draw(t, "message")
		for range rapid.IntRange(0, 40).Draw(t, "problems") {
			s.Problems = append(s.Problems, report.Problem{Reason: "Invalid", Message: text.Draw(t, "problem")})
		}
		for i := range rapid.IntRange(0, 40).Draw(t, "changes") {
			s.Drift = append(s.Drift, report.Change{Path: "spec", Old: text.Draw(t, "old"), New: text.Draw(t, "new"), At: int64(i)})
		}
		if rapid.Bool().Draw(t, "verified") {
			s.Verification = &report.Verification{Verdict: report.VerificationFailed, Message: text.Draw(t, "finding")}
		}
		got := s.Bounded()
		if err := (report.Report{States: []report.State{got}}).Check(); err != nil {
			t.Fatal(err)
		}
		if !utf8.ValidString(got.Message) || len(got.Message) > report.MaxMessage {
			t.Fatalf("message of %d bytes, valid %v", len(got.Message), utf8.ValidString(got.Message))
		}
		if n := len(s.Drift); n > 0 && got.Drift[len(got.Drift)-1].At != int64(n-1) {
			t.Fatal("the newest change was dropped")
		}
		if diff := cmp.Diff(got, got.Bounded()); diff != "" {
			t.Fatalf("bounding twice differs:\n%s", diff)
		}
	})
}

func TestWhatNoHonestAgentSaysIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(*report.State){
		"an unknown verdict": func(s *report.State) { s.Verification = &report.Verification{Verdict: "Splendid"} },
		"no name":            func(s *report.State) { s.Key = desired.Key{} },
		"an endless name":    func(s *report.State) { s.Key.Project = strings.Repeat("x", 300) },
		"an unknown sync":    func(s *report.State) { s.Sync = "Splendid" },
		"an unknown health":  func(s *report.State) { s.Health = "" },
		"a flood":            func(s *report.State) { s.Problems = make([]report.Problem, 21) },
		"a huge text":        func(s *report.State) { s.Revision = strings.Repeat("x", 1<<20) },
	} {
		s := well("a")
		spoil(&s)
		if err := (report.Report{States: []report.State{s}}).Check(); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if err := (report.Report{States: make([]report.State, report.MaxStates+1)}).Check(); err == nil {
		t.Error("more applications than there can be were taken")
	}
}

func TestAnObjectIsNamedAsKubectlDoes(t *testing.T) {
	for want, ref := range map[string]report.ObjectRef{
		"Deployment.apps/web in shop": {Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"},
		"Namespace/shop":              {Version: "v1", Kind: "Namespace", Name: "shop"},
	} {
		if got := ref.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
