package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"atoll.dev/atoll/internal/audit"
)

// copied is an audit log as somebody copied it, with the public key beside.
func copied(t *testing.T) (dir, key string) {
	t.Helper()
	data, err := audit.DeriveKey([]byte(rand.Text()))
	if err != nil {
		t.Fatal(err)
	}
	private, err := audit.ParseKey(data)
	if err != nil {
		t.Fatal(err)
	}
	public, err := audit.PublicKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir, key = filepath.Join(t.TempDir(), "audit"), filepath.Join(t.TempDir(), "audit.pub")
	log, err := audit.Open(audit.Options{Dir: dir, Key: private, Now: time.Now, Hub: "hub-1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []audit.Record{
		{User: "ada", Verb: "update", Group: "atoll.dev", Resource: "applications", Namespace: "demo", Name: "shop", Result: audit.Admitted, Reason: "ticket 42",
			Changes: []audit.Change{{Path: "spec.a", Before: []byte("1"), After: []byte("2")}}},
		{User: `=cmd("x")`, Impersonator: "eve", Verb: "create", Cluster: "eu-1", Resource: "pods", Subresource: "exec", Namespace: "web", Name: "w-1", Stage: audit.End, Milliseconds: 1500, Result: audit.Done, Code: 101, Message: "runs sh\x1b[2J"},
	} {
		if err := log.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, public, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, key
}

func run(args ...string) (out, words string, code int) {
	var o, e bytes.Buffer
	code = Main(context.Background(), Streams{In: strings.NewReader(""), Out: &o, Err: &e}, args)
	return o.String(), e.String(), code
}

func TestACopyOfTheAuditLogIsReadAndVerifiedWithoutAHub(t *testing.T) {
	dir, key := copied(t)
	out, words, code := run("audit", "--dir", dir, "--object", "app/shop")
	if code != exitOK || !strings.Contains(out, "applications/shop") || !strings.Contains(out, "spec.a: 1 → 2; because: ticket 42") || strings.Contains(out, "exec") {
		t.Errorf("exit %d\n%s%s", code, out, words)
	}
	out, _, _ = run("audit", "--dir", dir, "--object", "cluster/eu-1")
	if !strings.Contains(out, "(by eve)") || !strings.Contains(out, "after 1.5s; runs sh") || strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
	out, _, _ = run("audit", "--dir", dir, "-o", "csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 4 || rows[3][2] != `'=cmd("x")` {
		t.Errorf("%v: %q", err, rows)
	}
	if out, _, _ := run("audit", "--dir", dir, "-o", "json", "--user", "ada"); strings.Count(out, "\n") != 1 || !strings.Contains(out, `"before":1,"after":2`) {
		t.Errorf("%s", out)
	}
	if out, words, code := run("audit", "verify", "--dir", dir, "--key", key); code != exitOK || !strings.Contains(out, "is whole: 3 records, 1 to 3") {
		t.Errorf("exit %d\n%s%s", code, out, words)
	}

	files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], bytes.Replace(data, []byte(`"user":"ada"`), []byte(`"user":"bob"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, code := run("audit", "verify", "--dir", dir, "--key", key); code != exitNo || !strings.Contains(out, "NOT as the hub wrote it") || !strings.Contains(out, "FOUND  ") {
		t.Errorf("exit %d\n%s", code, out)
	}
	for want, args := range map[string][]string{
		"--dir and --key go together": {"audit", "verify", "--dir", dir},
		"no public key in PEM":        {"audit", "verify", "--dir", dir, "--key", files[0]},
		"--since is a time":           {"audit", "--since", "-1h", "--dir", dir},
		"is none of table, json, csv": {"audit", "-o", "yaml", "--dir", dir},
	} {
		if out, words, code := run(args...); code != exitFailed || !strings.Contains(words, want) || out != "" {
			t.Errorf("%q: exit %d, %q, %q", args, code, out, words)
		}
	}
}
