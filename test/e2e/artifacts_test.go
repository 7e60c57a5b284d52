package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/sandbox/artifactserver"
)

// cosigner signs as cosign does with a key of its own; public is in PEM.
func cosigner(t *testing.T) (sign func([]byte) ([]byte, error), public []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return func(payload []byte) ([]byte, error) {
		sum := sha256.Sum256(payload)
		return ecdsa.SignASN1(rand.Reader, key, sum[:])
	}, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func shopOf(version, greeting string) []byte {
	return artifactserver.Chart("shop", version, map[string]string{"values.yaml": "greeting: " + greeting + "\n", "templates/greeting.yaml": greetingTemplate})
}

func TestAnApplicationFollowsAChartOfARepositoryAndThenASignedArtifact(t *testing.T) {
	f := fleet(t)
	server := artifactserver.Start()
	t.Cleanup(server.Close)
	sign, public := cosigner(t)
	x := &followed{App: f.App("artifacts", "shop"), t: t, f: f}
	f.Project("artifacts")
	x.create(&corev1.Secret{ObjectMeta: named("artifacts", "repo"), Data: map[string][]byte{"ca.crt": server.CA()}})
	x.create(&corev1.Secret{ObjectMeta: named("artifacts", "keys"), Data: map[string][]byte{"cosign.pub": public}})
	server.Publish("shop", "1.2.0", shopOf("1.2.0", "one"))
	x.create(&v1alpha1.Application{ObjectMeta: named("artifacts", "shop"), Spec: v1alpha1.ApplicationSpec{
		Source: v1alpha1.Source{Chart: &v1alpha1.ChartSource{
			Repository: server.Charts(), Name: "shop", Version: "1.x", SecretRef: &v1alpha1.SecretReference{Name: "repo"}}},
		Placement: &v1alpha1.ApplicationPlacement{PlacementRule: v1alpha1.PlacementRule{Clusters: "stage=production"}},
		OnDelete:  v1alpha1.Delete,
	}})
	x.on("one")
	app := x.runs(artifactserver.Digest(shopOf("1.2.0", "one")))
	if c := app.Status.Source.Commit; c.Ref != "1.2.0" || c.Chart != "shop 1.2.0 (7)" || app.Status.Source.Renders != 1 {
		t.Errorf("what was fetched is told as %+v", c)
	}

	// A new version is followed, and one that is hostile changes nothing.
	server.Publish("shop", "1.3.0", shopOf("1.3.0", "two"))
	server.Publish("shop", "2.0.0", shopOf("2.0.0", "out of range"))
	x.look()
	x.on("two")
	server.Publish("shop", "1.4.0", artifactserver.Pack(map[string]string{"shop/../../etc/cron.d/x": "x"}))
	x.look()
	x.fails("SourceRefused", "leads out of the archive")
	x.on("two")

	// Nothing is taken from a registry that is not signed as it must be.
	layer := func(greeting string) artifactserver.Artifact {
		return artifactserver.Artifact{
			Annotations: map[string]string{"org.opencontainers.image.source": "https://git.example.com/shop", "org.opencontainers.image.revision": "main@sha1:1a2b"},
			Layers:      []artifactserver.Layer{{Type: artifactserver.FluxLayer, Data: artifactserver.Pack(map[string]string{"deploy/greeting.yaml": configMap("greeting", greeting)})}}}
	}
	push := func(greeting string) string {
		digest, err := server.Push(t.Context(), "team/shop", "stable", layer(greeting))
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	third := push("three")
	x.sourced(map[string]any{"chart": nil, "oci": map[string]any{
		"url": "oci://" + server.Host() + "/team/shop", "ref": map[string]any{"tag": "stable"}, "path": "deploy",
		"secretRef": map[string]any{"name": "repo"}, "verify": map[string]any{"secretRef": map[string]any{"name": "keys"}}}})
	x.fails("SignatureMissing", "is not signed")
	x.on("two")
	if err := server.Sign(t.Context(), "team/shop", third, sign, artifactserver.Payload(third)); err != nil {
		t.Fatal(err)
	}
	x.look()
	x.on("three")
	app = x.runs(third)
	revision := &v1alpha1.Revision{}
	if err := f.Hub.Client().Get(t.Context(), client.ObjectKey{Namespace: "artifacts", Name: app.Status.Revision}, revision); err != nil {
		t.Fatal(err)
	}
	if c := revision.Spec.Commit; c == nil || c.Verified == nil || c.Verified.Key != "cosign.pub" || c.Source != "https://git.example.com/shop" || c.SourceRevision != "main@sha1:1a2b" {
		t.Errorf("the revision is of %+v", c)
	}
	for _, args := range [][]string{{"describe", "app", "shop", "-p", "artifacts"}, {"explain", "app/shop", "-p", "artifacts"}} {
		if out := f.Hub.MustCLI(args...); !strings.Contains(out, third[7:19]) || args[0] == "describe" && !strings.Contains(out, "good, by cosign.pub of Secret keys") {
			t.Errorf("atoll %v does not tell of it:\n%s", args, out)
		}
	}

	// Somebody who may push, and has another key, changes nothing.
	forged, _ := cosigner(t)
	fourth := push("four")
	if err := server.Sign(t.Context(), "team/shop", fourth, forged, artifactserver.Payload(fourth)); err != nil {
		t.Fatal(err)
	}
	x.look()
	x.fails("SignatureInvalid", "artifact "+third[7:19]+" stays")
	x.on("three")
}
