package release_test

import (
	"bytes"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/util"
	"helm.sh/helm/v4/pkg/registry"
	sigsyaml "sigs.k8s.io/yaml"

	"atoll.dev/atoll/internal/release"
)

func hubValues() map[string]any {
	return map[string]any{
		"publicAddress": "hub.example.org:7444",
		"content":       map[string]any{"oci": "oci://registry.example.org/fleet"},
	}
}

func TestHelmsLinterHasNothingToSay(t *testing.T) {
	for name, values := range map[string]map[string]any{"atoll-agent": bootstrap(t), "atoll": hubValues()} {
		dir := t.TempDir()
		if err := util.ExpandFile(dir, packaged(t, name, "v1.2.3")); err != nil {
			t.Fatal(err)
		}
		result := lint.RunAll(filepath.Join(dir, name), values, "atoll-hub")
		for _, m := range result.Messages {
			if m.Severity > support.InfoSev {
				t.Errorf("chart %s: %s", name, m)
			}
		}
	}
}

func TestTheHubsChartAsksForWhatHasNoDefault(t *testing.T) {
	file := packaged(t, "atoll", "v1.2.3")
	for word, change := range map[string]func(values map[string]any) string{
		"publicAddress is missing": func(v map[string]any) string { delete(v, "publicAddress"); return "atoll-hub" },
		"content is missing":       func(v map[string]any) string { delete(v, "content"); return "atoll-hub" },
		"--namespace atoll-hub":    func(map[string]any) string { return "default" },
		"exclude each other":       func(v map[string]any) string { v["content"].(map[string]any)["claim"] = "shared"; return "atoll-hub" },
		"credentialsSecret is for": func(v map[string]any) string {
			v["content"] = map[string]any{"claim": "c", "credentialsSecret": "s"}
			return "atoll-hub"
		},
		"caSecret is for": func(v map[string]any) string {
			v["content"] = map[string]any{"claim": "c", "caSecret": "s"}
			return "atoll-hub"
		},
		"at '/publicAddress/0'": func(v map[string]any) string {
			v["publicAddress"] = []any{"hub.example.org", "192.0.2.7:7444"} // the first has no port
			return "atoll-hub"
		},
		"at '/publicAddress'": func(v map[string]any) string { v["publicAddress"] = "hub.example.org"; return "atoll-hub" },
		"at '/content/oci'": func(v map[string]any) string {
			v["content"] = map[string]any{"oci": "registry.example.org"}
			return "atoll-hub"
		},
		"at '/replicas'":               func(v map[string]any) string { v["replicas"] = 0; return "atoll-hub" },
		"additional properties 'keys'": func(v map[string]any) string { v["keys"] = "mine"; return "atoll-hub" },
	} {
		values := hubValues()
		namespace := change(values)
		if _, err := render(t, file, namespace, values); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("the error does not say %q: %v", word, err)
		}
	}
}

// Replicas that share no content would lose each other's uploads.
func TestTheHubsReplicasShareKeysAndContent(t *testing.T) {
	file := packaged(t, "atoll", "v1.2.3")
	for name, c := range map[string]struct {
		content map[string]any
		words   []string
	}{
		"a registry": {
			map[string]any{"oci": "oci://registry.example.org/fleet", "credentialsSecret": "pull"},
			[]string{"--content=oci://registry.example.org/fleet", "DOCKER_CONFIG", "secretName: pull"},
		},
		"a registry of our own authority": {
			map[string]any{"oci": "oci://registry.example.org/fleet", "caSecret": "corporate"},
			[]string{"SSL_CERT_FILE", "value: /etc/atoll/registry-ca/ca.crt", "secretName: corporate"},
		},
		"a volume": {
			map[string]any{"claim": "shared"},
			[]string{"--content=/srv/atoll", "mountPath: /srv/atoll", "claimName: shared"},
		},
	} {
		values := hubValues()
		values["content"] = c.content
		got, err := render(t, file, "atoll-hub", values)
		if err != nil {
			t.Fatal(err)
		}
		data, err := sigsyaml.Marshal(got["Deployment atoll-hub"])
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range append(c.words, "replicas: 3", "image: registry.example.org/atoll/atoll:v1.2.3", "secretName: atoll-hub-keys", "--public-address=hub.example.org:7444") {
			if !strings.Contains(string(data), word) {
				t.Errorf("with %s the Deployment has no %q:\n%s", name, word, data)
			}
		}
		if _, ok := got["PodDisruptionBudget atoll-hub"]; !ok {
			t.Error("three replicas have no disruption budget")
		}
	}
}

// What only some ask for is there for them, and for nobody else.
func TestTheHubsChartOpensWhatItIsAskedFor(t *testing.T) {
	file := packaged(t, "atoll", "v1.2.3")
	asked := map[string]any{"hooks": map[string]any{"enabled": true}, "sourceAllow": []any{"10.0.7.0/24", "127.0.0.1"},
		"networkPolicy": map[string]any{"enabled": true}, "secretNamespaces": []any{"shop", "*"},
		"alertmanagers": []any{"http://alertmanager-0.monitoring:9093", "http://alertmanager-1.monitoring:9093"}}
	for _, on := range []bool{true, false} {
		values := hubValues()
		if on {
			maps.Copy(values, asked)
		}
		got, err := render(t, file, "atoll-hub", values)
		if err != nil {
			t.Fatal(err)
		}
		for words, in := range map[string]string{
			"--hook-listen=0.0.0.0:7446":                           "Deployment atoll-hub",
			"--source-allow=10.0.7.0/24,127.0.0.1":                 "Deployment atoll-hub",
			"--alertmanager=http://alertmanager-1.monitoring:9093": "Deployment atoll-hub",
			"targetPort: hooks":                                    "Service atoll-hub-hooks",
			"port: hooks":                                          "NetworkPolicy atoll-hub",
			"- secrets\n":                                          "ClusterRole atoll-hub",
			"namespace: shop":                                      "RoleBinding atoll-hub-project",
		} {
			data, err := sigsyaml.Marshal(got[in])
			if err != nil {
				t.Fatal(err)
			}
			if found := strings.Contains(string(data), words); found != on {
				t.Errorf("asked for: %t, and %s has %q: %t", on, in, words, found)
			}
		}
	}
}

// Agents dial the first; the certificates carry all.
func TestTheHubsChartTakesSeveralPublicAddresses(t *testing.T) {
	values := hubValues()
	values["publicAddress"] = []any{"hub.example.org:7444", "hub.corp.internal", "192.0.2.7"}
	got, err := render(t, packaged(t, "atoll", "v1.2.3"), "atoll-hub", values)
	if err != nil {
		t.Fatal(err)
	}
	data, err := sigsyaml.Marshal(got["Deployment atoll-hub"])
	if err != nil {
		t.Fatal(err)
	}
	args := regexp.MustCompile(`--public-address=(\S+)`).FindAllString(string(data), -1)
	want := []string{"--public-address=hub.example.org:7444", "--public-address=hub.corp.internal", "--public-address=192.0.2.7"}
	if !slices.Equal(args, want) {
		t.Errorf("the hub is started with %q", args)
	}
}

func TestAPushedChartIsTheOneThatWasPackaged(t *testing.T) {
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	t.Setenv("HOME", t.TempDir())
	var said [2]string
	for i := range said {
		var out, say bytes.Buffer
		o := release.Charts{Source: "../../charts", Out: t.TempDir(), Version: "v1.2.3", Push: host + "/atoll"}
		if err := o.Build(&out, &say); err != nil {
			t.Fatal(err)
		}
		said[i] = say.String()
		client, err := registry.NewClient(registry.ClientOptPlainHTTP())
		if err != nil {
			t.Fatal(err)
		}
		for file := range strings.Lines(out.String()) {
			file = strings.TrimSpace(file)
			name := strings.TrimSuffix(filepath.Base(file), "-1.2.3.tgz")
			pulled, err := client.Pull(host + "/atoll/charts/" + name + ":1.2.3")
			if err != nil {
				t.Fatal(err)
			}
			if data, err := os.ReadFile(file); err != nil || !bytes.Equal(data, pulled.Chart.Data) {
				t.Errorf("chart %s is another in the registry, %v", name, err)
			}
			if !strings.Contains(say.String(), name+"@"+pulled.Manifest.Digest) {
				t.Errorf("said was %q, there is %s", say.String(), pulled.Manifest.Digest)
			}
		}
	}
	if said[0] != said[1] {
		t.Errorf("pushed twice, a chart has two digests: %s", said)
	}
}
