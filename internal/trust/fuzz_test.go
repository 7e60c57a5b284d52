package trust

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// FuzzHandler feeds every endpoint foreign bytes: the answer is always the
// JSON of the protocol with a known reason, and nothing is recorded.
func FuzzHandler(f *testing.F) {
	now := time.Unix(1_790_000_000, 0)
	ca, err := OpenCA(f.TempDir(), func() time.Time { return now })
	if err != nil {
		f.Fatal(err)
	}
	_, record := NewToken("eu-1", now)
	registry := &oneCluster{name: "eu-1", e: Enrolment{Exists: true, Accepted: true}, token: &record}
	server := NewServer(ServerConfig{CA: ca, Registry: registry, Now: func() time.Time { return now }, PerSecond: 1e9, Burst: 1e9})
	handler := server.Handler()

	f.Add(PathChallenge, []byte(`{"cluster":"eu-1"}`))
	f.Add(PathJoin, []byte(`{"cluster":"eu-1","nonce":"AAAA","token":"atoll1.eu-1.AAAA","csr":"MIIB","sealingKey":"k","clusterUID":"u","signature":"MEUC"}`))
	f.Add(PathRenew, []byte(`{"cluster":"eu-1","nonce":"AAAA","publicKey":"MFkw","csr":"MIIB","sealingKey":"k","clusterUID":"u","signature":"MEUC"}`))
	f.Add(PathRenew, []byte(`[]`))
	f.Add(PathJoin, []byte{})
	f.Fuzz(func(t *testing.T, path string, body []byte) {
		if path != PathChallenge && path != PathJoin {
			path = PathRenew
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
		if w.Code == http.StatusOK {
			if path != PathChallenge {
				t.Fatalf("bytes without a key were served: %s", w.Body)
			}
			return
		}
		var refused ErrorResponse
		if err := json.Unmarshal(w.Body.Bytes(), &refused); err != nil || statusOf[refused.Reason] != w.Code || refused.Message == "" {
			t.Fatalf("answered %d %q", w.Code, w.Body)
		}
		if registry.writes > 0 {
			t.Fatal("something was recorded")
		}
	})
}

func FuzzParseToken(f *testing.F) {
	token, _ := NewToken("eu-1", time.Unix(0, 0))
	f.Add(token)
	f.Add("atoll1..")
	f.Fuzz(func(t *testing.T, token string) {
		if cluster, err := ParseToken(token); err == nil && cluster == "" {
			t.Fatal("a token for no cluster")
		}
	})
}
