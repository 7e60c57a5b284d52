package source_test

import (
	"strings"
	"testing"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/source"
)

func TestWhereChartsAndArtifactsAreIsReadAndWhatIsUnsafeIsRefused(t *testing.T) {
	for given, want := range map[string]string{
		"https://charts.example.com":           "https://charts.example.com",
		"https://Charts.example.com:443/team/": "https://charts.example.com/team",
		"https://charts.example.com:8443/team": "https://charts.example.com:8443/team",
		"oci://ghcr.io/team":                   "oci://ghcr.io/team",
		"oci://[2001:db8::1]:5000/team/charts": "oci://[2001:db8::1]:5000/team/charts",
	} {
		if got, err := source.ParseIndex(given); err != nil || got.String() != want {
			t.Errorf("%s is read as %s, %v", given, got, err)
		}
	}
	for given, why := range map[string]string{
		"http://charts.example.com":               "use https",
		"file:///etc":                             "neither with https",
		"https://alice:secret@charts.example.com": "Secret",
		"https://charts.example.com/?token=a":     "?",
		"https://charts.example.com/a/../b":       `".."`,
		"https:///a":                              "no host name",
		"oci://ghcr.io/Team":                      "no path in a registry",
		"oci://ghcr.io/a b":                       "space",
		"https://h/" + strings.Repeat("a", 3000):  "more than",
	} {
		if _, err := source.ParseIndex(given); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v; wanted words on %s", given, err, why)
		}
	}
	for _, given := range []string{"oci://ghcr.io", "https://ghcr.io/a", "oci://ghcr.io/a:v1", "oci://ghcr.io/a@sha256:1", "oci://ghcr.io/a//b", "oci://ghcr.io/-a"} {
		if got, err := source.ParseArtifact(given); err == nil {
			t.Errorf("%q is read as %s", given, got)
		}
	}
}

func TestTheHighestVersionIsChosen(t *testing.T) {
	there := []string{"1.2.0", "v1.10.0", "1.9.1", "2.0.0-rc.1", "latest", "1.2.0+build"}
	for wanted, want := range map[string]string{"": "v1.10.0", "1.x": "v1.10.0", "~1.9": "1.9.1", "1.2.0": "1.2.0", "1.10.0": "v1.10.0", ">=2.0.0-0": "2.0.0-rc.1"} {
		if got, err := source.Highest(wanted, there); err != nil || got != want {
			t.Errorf("%q is %q, %v", wanted, got, err)
		}
	}
	if _, err := source.Highest("3.x", there); err == nil || !strings.Contains(err.Error(), "and 1 more") {
		t.Errorf("got %v", err)
	}
}

// What says only how to get at a source changes nothing of what is fetched;
// whose signature it must have does.
func TestWhatWasFetchedIsOfTheSameSource(t *testing.T) {
	app := func(s v1alpha1.Source) string {
		return source.Of(&v1alpha1.Application{Spec: v1alpha1.ApplicationSpec{Source: s}})
	}
	chart := v1alpha1.ChartSource{Repository: "oci://h/p", Name: "web"}
	other := chart
	other.SecretRef = &v1alpha1.SecretReference{Name: "a"}
	signed := chart
	signed.Verify = &v1alpha1.Verification{}
	one := app(v1alpha1.Source{Chart: &chart})
	if app(v1alpha1.Source{Chart: &other}) != one || app(v1alpha1.Source{Chart: &signed}) == one {
		t.Error("a secret counts, or a signature does not")
	}
	if other.SecretRef == nil {
		t.Error("the application itself was changed")
	}
}
