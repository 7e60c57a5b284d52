package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/desired"
	"atoll.dev/atoll/internal/report"
)

var update = flag.Bool("update", false, "rewrite testdata; never for v0 messages of a release")

// v0 messages must keep these bytes for ever: an agent of any age says Hello
// to a hub of any age and reads why it is refused.
var v0 = map[string]Message{
	"hello": {
		Stamp: Stamp{Incarnation: "c0ffee", Term: 7, Seq: 1},
		Hello: &Hello{
			Cluster: "us-east-1", AgentVersion: "v0.1.0", MinVersion: 1, MaxVersion: 2,
			ClusterUID: "3c1c7a1e-7c1a-4a30-b7b6-5a3f4f0d9f10", Instance: "atoll-agent-1",
			Seen:    Stamp{Incarnation: "c0ffee", Term: 7},
			Desired: desired.Sum([]byte("desired")), Reported: desired.Sum([]byte("reported")),
		},
	},
	"welcome": {
		Stamp:   Stamp{Incarnation: "c0ffee", Term: 8, Seq: 1},
		Welcome: &Welcome{Version: 1, HeartbeatMillis: 10_000, HubVersion: "v0.1.0", Now: 1_790_000_000_000, Accepted: "c0ffee"},
	},
	"refusal": {
		Stamp:   Stamp{Incarnation: "c0ffee", Term: 8, Seq: 1},
		Refusal: &Refusal{Reason: "Revoked", Message: "cluster us-east-1 was removed", RetryAfterMillis: 600_000},
	},
}

func TestV0MessagesKeepTheirBytes(t *testing.T) {
	for name, message := range v0 {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("testdata", "v0-"+name+".hex")
			var got bytes.Buffer
			if err := WriteMessage(&got, message); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(path, []byte(hex.EncodeToString(got.Bytes())+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want, err := hex.DecodeString(strings.TrimSpace(string(golden)))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Bytes()); diff != "" {
				t.Errorf("the frozen encoding changed:\n%s", diff)
			}
			back, err := ReadMessage(bytes.NewReader(want))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(message, back); diff != "" {
				t.Errorf("the frozen bytes are read as something else:\n%s", diff)
			}
		})
	}
}

// full has every field of every type that the link carries.
func full() []Message {
	now := metav1.NewTime(time.Unix(1_790_000_000, 0))
	entry := desired.Entry{
		Key: desired.Key{Project: "demo", Application: "shop"}, UID: "u", Generation: 3, Revision: "shop-1",
		Content: desired.Sum(nil), Namespace: "shop", Bindings: map[string]string{"cluster.region": "eu"},
		Policy: desired.Policy{
			DriftMode: v1alpha1.DriftMode("Correct"), Ignore: []v1alpha1.FieldRule{{Kind: "Deployment", Paths: []string{"/spec/replicas"}}},
			Health: []v1alpha1.HealthRule{{Kind: "Database", Healthy: "true"}}, Namespaces: []string{"shop-*"},
			Kinds: []v1alpha1.GroupKind{{Group: "g", Kind: "K"}}, DeletionBudget: 5,
		},
	}
	object := report.ObjectRef{Group: "apps", Version: "v1", Kind: "Deployment", Namespace: "shop", Name: "web"}
	state := report.State{
		Key: entry.Key, Entry: entry.Digest(), Revision: "shop-1", Sync: report.InSync, Health: report.HealthHealthy, Objects: 2,
		Problems: []report.Problem{{Object: object, Reason: "Conflict", Message: "kubectl owns it"}},
		Drift:    []report.Change{{Object: object, Path: "/spec/replicas", Old: "1", New: "2", At: 5, Corrected: true}},
	}
	facts := &v1alpha1.Facts{
		ObservedAt: now, Nodes: 3, Regions: []string{"eu"},
		Capacity: map[string]resource.Quantity{"cpu": resource.MustParse("2500m"), "memory": resource.MustParse("12Gi")},
	}
	stamp := Stamp{Incarnation: "i", Term: 2, Seq: 9}
	return []Message{
		v0["hello"], v0["welcome"], v0["refusal"],
		{Stamp: stamp, Heartbeat: &Heartbeat{Desired: desired.Sum(nil), Reported: desired.Sum(nil), At: 7}},
		{Stamp: stamp, Desired: &Desired{Delta: desired.Delta{Base: "b", Target: "t", Upserts: []desired.Entry{entry}, Removes: []desired.Key{entry.Key}}}},
		{Stamp: stamp, Want: &Want{Contents: []desired.Digest{"a", "b"}}},
		{Stamp: stamp, Content: &Content{Digest: "d", Size: 3, Data: []byte("abc"), Values: []SealedValue{{Ref: "r", Sealed: []byte{1}}}}},
		{Stamp: stamp, Report: &Report{Report: report.Report{Full: true, States: []report.State{state}, Removed: []desired.Key{entry.Key}, Facts: facts, Digest: "d", At: 1}}},
		{Stamp: stamp, Resend: &Resend{Desired: true}},
		{Stamp: stamp, Upgrade: &Upgrade{Image: "agent:v2", Attempt: "1"}},
	}
}

func TestEveryMessageSurvivesTheLink(t *testing.T) {
	covered := map[string]bool{}
	for _, m := range full() {
		var buf bytes.Buffer
		if err := WriteMessage(&buf, m); err != nil {
			t.Fatal(err)
		}
		got, err := ReadMessage(iotest.OneByteReader(&buf))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, got, cmp.Comparer(resource.Quantity.Equal)); diff != "" {
			t.Errorf("changed on the way:\n%s", diff)
		}
		for v, i := reflect.ValueOf(m), 1; i < v.NumField(); i++ {
			if !v.Field(i).IsNil() {
				covered[v.Type().Field(i).Name] = true
			}
		}
	}
	if bodies := reflect.TypeFor[Message]().NumField() - 1; len(covered) != bodies {
		t.Errorf("full() shows %d kinds of body, Message has %d: %v", len(covered), bodies, covered)
	}
}

func frame(body string) []byte {
	raw, err := hex.DecodeString(strings.ReplaceAll(body, " ", ""))
	if err != nil {
		panic(err)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(raw))), raw...)
}

func TestBadFramesAreRefusedWithTheirFault(t *testing.T) {
	whole := frame("a2 01 a3 01 6169 02 01 03 01 0a a0")
	nested := "a2 01 a3 01 6169 02 01 03 01 0a a1 18 63 " + strings.Repeat("81", 40) + "00"
	for name, c := range map[string]struct {
		frame []byte
		fault Fault
	}{
		"a length of 4 GiB":              {[]byte{0xff, 0xff, 0xff, 0xff}, FaultTooLarge},
		"one byte over the limit":        {binary.BigEndian.AppendUint32(nil, MaxFrame+1), FaultTooLarge},
		"ends inside the length":         {whole[:3], FaultTruncated},
		"ends inside the body":           {whole[:len(whole)-1], FaultTruncated},
		"ends after the length":          {whole[:4], FaultTruncated},
		"no CBOR":                        {frame("ff"), FaultMalformed},
		"empty":                          {frame(""), FaultMalformed},
		"bytes after the message":        {frame("a2 01 a3 01 6169 02 01 03 01 0a a0 00"), FaultMalformed},
		"a field twice":                  {frame("a3 01 a3 01 6169 02 01 03 01 0a a0 0a a0"), FaultMalformed},
		"indefinite length":              {frame("bf 01 a3 01 6169 02 01 03 01 0a a0 ff"), FaultMalformed},
		"a tag":                          {frame("a2 01 a3 01 6169 02 01 03 01 0a c1 a0"), FaultMalformed},
		"nested forty deep":              {frame(nested), FaultMalformed},
		"an array of four milliards":     {frame("a2 01 a3 01 6169 02 01 03 01 07 a1 01 9a ffffffff"), FaultMalformed},
		"text that is not UTF-8":         {frame("a2 01 a3 01 61ff 02 01 03 01 0a a0"), FaultMalformed},
		"no body":                        {frame("a1 01 a3 01 6169 02 01 03 01"), FaultBody},
		"two bodies":                     {frame("a3 01 a3 01 6169 02 01 03 01 05 a0 0a a0"), FaultBody},
		"only a body of a later version": {frame("a2 01 a3 01 6169 02 01 03 01 18 63 a0"), FaultBody},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadMessage(bytes.NewReader(c.frame))
			var fe *FrameError
			if !errors.As(err, &fe) || fe.Fault != c.fault {
				t.Errorf("got %v, want fault %s", err, c.fault)
			}
		})
	}
	if _, err := ReadMessage(bytes.NewReader(whole)); err != nil {
		t.Errorf("the frame that all of these spoil: %v", err)
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	m, err := ReadMessage(bytes.NewReader(frame("a3 01 a4 01 6169 02 01 03 01 18 63 00 0a a2 01 f5 18 63 01 18 63 a0")))
	if err != nil {
		t.Fatal(err)
	}
	want := Message{Stamp: Stamp{Incarnation: "i", Term: 1, Seq: 1}, Resend: &Resend{Desired: true}}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Error(diff)
	}
}

func TestEndBetweenFramesIsEOF(t *testing.T) {
	if _, err := ReadMessage(strings.NewReader("")); err != io.EOF {
		t.Errorf("got %v, want io.EOF", err)
	}
}

func TestAnnouncedLengthAllocatesLittle(t *testing.T) {
	announced := binary.BigEndian.AppendUint32(nil, MaxFrame)
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = ReadMessage(bytes.NewReader(announced))
		}
	})
	if got := result.AllocedBytesPerOp(); got > MaxFrame/32 {
		t.Errorf("an announcement of %d bytes made the reader allocate %d", MaxFrame, got)
	}
}

func TestNothingIsWrittenOfAMessageThatMayNotBe(t *testing.T) {
	for name, m := range map[string]Message{
		"no body":    {},
		"two bodies": {Resend: &Resend{}, Want: &Want{}},
		"too large":  {Content: &Content{Data: make([]byte, MaxFrame)}},
	} {
		var buf bytes.Buffer
		var fe *FrameError
		if err := WriteMessage(&buf, m); !errors.As(err, &fe) || buf.Len() > 0 {
			t.Errorf("%s: error %v, %d bytes written", name, err, buf.Len())
		}
	}
}

func TestStreamHeaderSurvives(t *testing.T) {
	want := StreamHeader{
		Stamp: Stamp{Incarnation: "i", Term: 1}, Kind: StreamHTTP, User: "ann", Groups: []string{"dev"},
		Extra: map[string][]string{"scopes": {"a", "b"}}, RequestID: "r-1",
	}
	var buf bytes.Buffer
	if err := WriteStreamHeader(&buf, want); err != nil {
		t.Fatal(err)
	}
	buf.WriteString("GET /")
	got, err := ReadStreamHeader(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if rest := buf.String(); rest != "GET /" {
		t.Errorf("the header took the stream's own bytes, %q is left", rest)
	}
	if err := WriteStreamHeader(&buf, StreamHeader{}); err == nil {
		t.Error("a header without a kind was written")
	}
	var fe *FrameError
	if _, err := ReadStreamHeader(bytes.NewReader(frame("a0"))); !errors.As(err, &fe) || fe.Fault != FaultBody {
		t.Errorf("a header without a kind was read: %v", err)
	}
}

func FuzzReadMessage(f *testing.F) {
	for _, m := range full() {
		var buf bytes.Buffer
		if err := WriteMessage(&buf, m); err != nil {
			f.Fatal(err)
		}
		f.Add(buf.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ReadMessage(bytes.NewReader(data))
		if err != nil {
			return
		}
		var once, twice bytes.Buffer
		if err := WriteMessage(&once, m); err != nil {
			var fe *FrameError
			if errors.As(err, &fe) && fe.Fault == FaultTooLarge {
				return // foreign encodings may be shorter than ours
			}
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := ReadMessage(bytes.NewReader(once.Bytes()))
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if err := WriteMessage(&twice, again); err != nil || !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Fatalf("the encoding is not canonical (%v):\n%x\n%x", err, once.Bytes(), twice.Bytes())
		}
	})
}
