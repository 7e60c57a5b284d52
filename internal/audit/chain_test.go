package audit

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever single byte of the files is another one, or is missing, is found.
func TestNoByteOfTheRecordsCanBeAnother(t *testing.T) {
	o := logged(t, 12)
	files, err := segments(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(files).Draw(t, "file")
		data, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		tampered := append([]byte{}, data...)
		if rapid.Bool().Draw(t, "cut") {
			tampered = append(tampered[:at], tampered[at+1:]...)
		} else {
			tampered[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		}
		if err := os.WriteFile(s.path, tampered, 0o600); err != nil {
			t.Fatal(err)
		}
		v, verr := Verify(context.Background(), o.Dir, public(o))
		if err := os.WriteFile(s.path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		if verr != nil || len(v.Findings) == 0 {
			t.Fatalf("%s at byte %d: %v, %+v", s.name(), at, verr, v)
		}
	})
}

// Files may hold anything; reading them neither fails nor takes it for a record.
func FuzzALineIsARecordOnlyWithItsHash(f *testing.F) {
	line, _, err := encode(act(1), link{hash: strings.Repeat("0", hexHash)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line[:len(line)-1])
	f.Add([]byte(`{"seq":1,"prev":"","hash":""}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		at, prev, err := parse(line)
		if err == nil && (at.seq == 0 || len(at.hash) != hexHash || len(prev) != hexHash) {
			t.Errorf("%q is record %d", line, at.seq)
		}
	})
}

func TestARecordIsBoundedWhateverACallerSends(t *testing.T) {
	long := strings.Repeat("ä\xff\"\n", 100_000)
	r := Record{User: long, UserAgent: long, Reason: long, Message: long, Name: long, Verb: `update","verb":"audit-breached`}
	for range 1000 {
		r.Groups = append(r.Groups, long)
	}
	r.Changes, r.MoreChanges = Changes(nil, map[string]any{"spec": wide(long)}, false)
	line, _, err := encode(r, link{hash: strings.Repeat("0", hexHash)})
	if err != nil || len(line) > maxLine/2 || strings.Count(string(line), "\n") != 1 {
		t.Fatalf("%d bytes, %v", len(line), err)
	}
	if _, _, err := parse(line[:len(line)-1]); err != nil {
		t.Error(err)
	}
	if strings.Contains(string(line), string(ownVerbs)) {
		t.Error("a caller wrote what only the log says of itself")
	}
	if r.MoreChanges == 0 {
		t.Error("nobody is told that changes are left out")
	}
}

func wide(value string) map[string]any {
	out := map[string]any{}
	for i := range 1000 {
		out[strings.Repeat("k", i+1)] = value
	}
	return out
}

func TestChangesNameFieldsAndHideSecrets(t *testing.T) {
	const canary = "c4n4ry"
	long := strings.Repeat("x", 300)
	object := func(text string) map[string]any {
		out := map[string]any{}
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	for name, c := range map[string]struct {
		before, after, want string
	}{
		"a field": {`{"spec":{"a":1,"b":[1]}}`, `{"spec":{"a":2,"b":[1]}}`, "spec.a: 1 → 2"},
		"an item with a name, wherever it stands": {
			`{"l":[{"name":"x","v":1},{"name":"y","v":1}]}`, `{"l":[{"name":"y","v":2},{"name":"x","v":1}]}`, "l[y].v: 1 → 2"},
		"an item that went":     {`{"l":["a","b"]}`, `{"l":["a"]}`, `l[1]: "b" removed`},
		"what the server keeps": {`{"metadata":{"resourceVersion":"1","generation":1},"status":{"a":1}}`, `{"metadata":{"resourceVersion":"2","generation":2},"status":{"a":2}}`, ""},
		"a Secret": {
			`{"apiVersion":"v1","kind":"Secret","data":{"a":"c4n4ry","b":"c4n4ry"}}`,
			`{"apiVersion":"v1","kind":"Secret","data":{"a":"xc4n4ry","b":"c4n4ry"},"stringData":{"c":"c4n4ry"},"metadata":{"labels":{"l":"1"},"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"c4n4ry"}}}`,
			`data.a: "(secret)" → "(secret)"; metadata.labels.l: "1"; stringData.c: "(secret)"`},
		"what its name calls a credential": {
			`{"spec":{"env":[{"name":"DB_PASSWORD","value":"c4n4ry"}],"apiKey":"c4n4ry","owner":"a"}}`, `{"spec":{"env":[{"name":"DB_PASSWORD","value":"c4n4ry2"}],"apiKey":"c4n4ry2","owner":"b"}}`,
			`spec.apiKey: "(secret)" → "(secret)"; spec.env[DB_PASSWORD].value: "(secret)" → "(secret)"; spec.owner: "a" → "b"`},
		"what comes whole": {
			`{}`, `{"spec":{"env":[{"name":"AWS_SECRET_ACCESS_KEY","value":"c4n4ry"},{"name":"a","value":"b"}],"hooks":[[{"apiKey":"c4n4ry"}]],"n":[1]}}`,
			`spec.env: [{"name":"AWS_SECRET_ACCESS_KEY","value":"(secret)"},{"name":"a","value":"b"}]; spec.hooks: [[{"apiKey":"(secret)"}]]; spec.n: [1]`},
		"what becomes something else": {`{"spec":{"auth":{"token":"c4n4ry"}}}`, `{"spec":{"auth":"none"}}`, `spec.auth: {"token":"(secret)"} → "none"`},
		"credentials within a text": {
			`{"a":"https://bob:c4n4ry@git.example.com/x?depth=1","b":"https://git.example.com/x?access_token=c4n4ry&a=b"}`,
			`{"c":"user: bob\npassword: c4n4ry\nport: 1","d":"{\"password\": \"c4n4ry c4n4ry\", \"port\": 1}","e":"{\\\"token\\\":\\\"c4n4ry\\\"}"}`,
			`a: "https://(secret)@git.example.com/x?depth=1" removed; b: "https://git.example.com/x?access_token=(secret)\u0026a=b" removed; ` +
				`c: "user: bob\npassword: (secret)\nport: 1"; d: "{\"password\": (secret), \"port\": 1}"; e: "{\\\"token\\\":(secret)}"`},
		"credentials within a long text": {
			`{}`, `{"a":["https://bob:c4&4ry@git.example.com","` + long + `"],"b":"password: c4n4ry\n` + long + `"}`,
			`a: "[\"https://(secret)@git.example.com\",\"` + long[:219] + `… (346 bytes)"; b: "password: (secret)\n` + long[:237] + `… (317 bytes)"`},
		"manifests": {`{"spec":{"source":{"inline":"c4n4ry"}}}`, `{"spec":{"source":{}}}`, `spec.source.inline: "(manifests, 8 bytes)" removed`},
	} {
		changes, _ := Changes(object(c.before), object(c.after), false)
		var got []string
		for _, change := range changes {
			got = append(got, change.Text())
		}
		if text := strings.Join(got, "; "); text != c.want || strings.Contains(text, canary) {
			t.Errorf("%s: %s\nnot %s", name, text, c.want)
		}
	}
	r := Record{Message: `spec.source.git.url: Invalid value: "https://bob:` + canary + `@git.example.com": no`, Reason: "password=" + canary}
	if r.bound(); strings.Contains(r.Message+r.Reason, canary) {
		t.Errorf("%q, %q", r.Message, r.Reason)
	}
}
