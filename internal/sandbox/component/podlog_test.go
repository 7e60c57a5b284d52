package component

import (
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

func loggingPod(state corev1.ContainerState) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web"},
		Spec:       corev1.PodSpec{NodeName: "a-1"},
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "c", Image: "web:1", State: state}}},
	}
}

func TestLogIsWhatTheContainerHasSaidByNow(t *testing.T) {
	running := loggingPod(corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(noon)}})
	for _, tc := range []struct {
		query, want string
	}{
		{"", "container c of demo/web started from image web:1 on node a-1 (simulated)\nserving for 10s\nserving for 20s\n"},
		{"tailLines=1&timestamps=true", "2030-01-02T12:00:20Z serving for 20s\n"},
		{"sinceSeconds=16", "serving for 10s\nserving for 20s\n"},
		{"sinceTime=2030-01-02T12:00:20Z", "serving for 20s\n"},
		{"tailLines=2&limitBytes=7", "serving"},
		{"tailLines=0", ""},
	} {
		query, err := url.ParseQuery(tc.query)
		if err != nil {
			t.Fatal(err)
		}
		options, err := parseLogOptions(query)
		if err != nil {
			t.Fatal(err)
		}
		now := noon.Add(25 * time.Second)
		lines, ended := containerLog(running, "c", now)
		if ended {
			t.Errorf("%s: a running container's log has ended", tc.query)
		}
		out := httptest.NewRecorder()
		w := &logWriter{out: out, options: options}
		for range 2 { // a follower computes everything anew, and writes it once
			if err := w.write(options.window(lines, now)); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff(tc.want, out.Body.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.query, diff)
		}
	}
}

func TestLogOfAnEndedContainerEnds(t *testing.T) {
	ended := loggingPod(corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, StartedAt: metav1.NewTime(noon), FinishedAt: metav1.NewTime(noon)}})
	lines, done := containerLog(ended, "c", noon)
	if !done || lines[len(lines)-1].text != "exiting with code 1" {
		t.Errorf("ended %t with %v", done, lines)
	}
	if lines, _ := containerLog(ended, "other", noon); lines != nil {
		t.Errorf("a container that does not exist said %v", lines)
	}
}

func FuzzParseLogOptions(f *testing.F) {
	for _, seed := range []string{"", "tailLines=5", "tailLines=-1", "follow=x", "limitBytes=99999999999", "sinceTime=now", "sinceSeconds=3&timestamps=1"} {
		f.Add(seed)
	}
	lines := []logLine{{noon, "one"}, {noon.Add(time.Second), "two"}}
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		options, err := parseLogOptions(query)
		if err != nil {
			return
		}
		out := httptest.NewRecorder()
		if err := (&logWriter{out: out, options: options}).write(options.window(lines, noon)); err != nil {
			t.Fatal(err)
		}
		if options.limit > 0 && out.Body.Len() > options.limit {
			t.Errorf("%q wrote %d bytes", raw, out.Body.Len())
		}
	})
}
