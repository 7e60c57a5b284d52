package release_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/chart/common"
	commonutil "helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/join"
	"atoll.dev/atoll/internal/release"
)

var ticket = join.Ticket{Cluster: "us-east-1", Token: "atoll1.us-east-1.secret", Address: "hub.example.org:7444", Roots: "line one\nline two\n"}

// packaged is the file of one chart of a release.
func packaged(t *testing.T, name, version string) string {
	t.Helper()
	var out bytes.Buffer
	o := release.Charts{Source: "../../charts", Out: t.TempDir(), Version: version, Repository: "registry.example.org/atoll"}
	if err := o.Build(&out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for file := range strings.Lines(out.String()) {
		if strings.HasPrefix(filepath.Base(file), name+"-"+strings.TrimPrefix(version, "v")) || strings.HasPrefix(filepath.Base(file), name+"-0.0.0") {
			return strings.TrimSpace(file)
		}
	}
	t.Fatalf("no chart %s was packaged, but:\n%s", name, out.String())
	return ""
}

// render is what helm would install, by "KIND NAME".
func render(t *testing.T, file, namespace string, values map[string]any) (map[string]map[string]any, error) {
	t.Helper()
	c, err := loader.LoadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := commonutil.ToRenderValues(c, values, common.ReleaseOptions{Name: "release", Namespace: namespace, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return nil, err
	}
	objects := map[string]map[string]any{}
	for _, text := range files {
		for in := yaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096); ; {
			o := unstructured.Unstructured{}
			err := in.Decode(&o.Object)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v in\n%s", err, text)
			}
			if len(o.Object) > 0 {
				objects[o.GetKind()+" "+o.GetName()] = o.Object
			}
		}
	}
	return objects, nil
}

// bootstrap is what "atoll join -o bootstrap" prints, read as a values file.
func bootstrap(t *testing.T) map[string]any {
	t.Helper()
	data, err := ticket.Encode()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := sigsyaml.Unmarshal(data, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

func TestTheChartInstallsWhatJoinPrints(t *testing.T) {
	file := packaged(t, "atoll-agent", "v1.2.3")
	for _, profile := range []v1alpha1.Profile{v1alpha1.ProfileRead, v1alpha1.ProfileNamespaces, v1alpha1.ProfileFull} {
		values := bootstrap(t)
		values["profile"] = string(profile)
		got, err := render(t, file, "default", values)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := join.Manifests(ticket, profile, "registry.example.org/atoll/atoll-agent:v1.2.3")
		if err != nil {
			t.Fatal(err)
		}
		// Through the same text, so that numbers are of one type.
		stream, err := join.Encode(objects)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]map[string]any{}
		for in := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(stream), 4096); ; {
			o := unstructured.Unstructured{}
			if err := in.Decode(&o.Object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			want[o.GetKind()+" "+o.GetName()] = o.Object
		}
		if diff := cmp.Diff(want, got, cmp.Transformer("plain", plain)); diff != "" {
			t.Errorf("profile %s (-join +chart):\n%s", profile, diff)
		}
	}
}

// plain takes out the empty maps that typed objects are encoded with.
func plain(in map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range in {
		if m, ok := value.(map[string]any); ok && len(m) == 0 {
			continue
		}
		out[key] = value
	}
	return out
}

func TestASecretThatExistsStandsInForTheToken(t *testing.T) {
	got, err := render(t, packaged(t, "atoll-agent", "v1.2.3"), "default", map[string]any{"existingSecret": "mine", "image": "mirror.example.org/agent:1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, made := range []string{"Secret atoll-agent-bootstrap", "Namespace atoll-system"} {
		if _, ok := got[made]; ok {
			t.Errorf("%s is made beside what exists", made)
		}
	}
	text, err := sigsyaml.Marshal(got["Deployment atoll-agent"])
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"secretName: mine", "image: mirror.example.org/agent:1"} {
		if !strings.Contains(string(text), word) {
			t.Errorf("the agent's Deployment has no %q:\n%s", word, text)
		}
	}
}

func TestNonsenseInValuesIsRefusedByName(t *testing.T) {
	file := packaged(t, "atoll-agent", "v1.2.3")
	for key, value := range map[string]any{"profile": "admin", "address": "hub.example.org", "cluster": "Not_A_Name", "token": "", "replicas": 3} {
		values := bootstrap(t)
		values[key] = value
		if _, err := render(t, file, "default", values); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s=%v: %v", key, value, err)
		}
	}
}

func TestAChartIsTheSameBytesWheneverItIsPackaged(t *testing.T) {
	for _, name := range []string{"atoll-agent", "atoll"} {
		var archives [][]byte
		for range 2 {
			data, err := os.ReadFile(packaged(t, name, "v1.2.3"))
			if err != nil {
				t.Fatal(err)
			}
			archives = append(archives, data)
		}
		if !slices.Equal(archives[0], archives[1]) {
			t.Errorf("two archives of chart %s differ", name)
		}
	}
	for version, name := range map[string]string{"v1.2.3": "1.2.3", "0123456-dirty": "0.0.0-at-0123456-dirty", "dev": "0.0.0-at-dev", "v1.2.3-4-gabc": "1.2.3-4-gabc"} {
		if file := packaged(t, "atoll-agent", version); !strings.HasSuffix(file, "/atoll-agent-"+name+".tgz") {
			t.Errorf("version %s is packaged as %s", version, file)
		}
	}
}
