package component

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestASimulatedContainerAnswersWhatItsSpecSays(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "web-1"},
		Status:     corev1.PodStatus{PodIP: "10.16.128.2"},
	}
	for _, name := range []string{"config", "scratch", "host"} {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name})
	}
	says := func(text string) file { return func(context.Context) (string, error) { return text, nil } }
	s := &shell{
		pod: pod,
		container: &corev1.Container{
			Name: "web", Image: "web:1", Args: []string{"--port=80"}, WorkingDir: "/srv",
			VolumeMounts: []corev1.VolumeMount{
				{Name: "config", MountPath: "/srv/config/"},
				{Name: "config", MountPath: "/etc/one", SubPath: "tls/key"},
				{Name: "config", MountPath: "/srv/$", SubPathExpr: "tls"},
				{Name: "scratch", MountPath: "/srv/config/tmp"},
				{Name: "scratch", MountPath: "/part", SubPath: "of/it"},
				{Name: "host", MountPath: "/host"},
			},
		},
		files: func(_ context.Context, v corev1.Volume) (map[string]file, error) {
			switch v.Name {
			case "config":
				return map[string]file{"a": says("1\n"), "b": says("2\n"), "tls/key": says("secret")}, nil
			case "host":
				return nil, errors.New("not this machine's")
			}
			return nil, nil
		},
		env: func(context.Context) (map[string]string, error) { return map[string]string{"B": "2", "A": "1"}, nil },
	}
	for _, tc := range []struct {
		command string
		want    result
	}{
		{"hostname", result{out: "web-1\n"}},
		{"/bin/echo a b", result{out: "a b\n"}},
		{"true", result{}},
		{"false", result{code: 1}},
		{"env", result{out: "A=1\nB=2\n"}},
		{"printenv B", result{out: "2\n"}},
		{"printenv C", result{code: 1}},
		{"cat /etc/hosts", result{out: "127.0.0.1\tlocalhost\n10.16.128.2\tweb-1\n"}},
		{"ls config", result{out: "a\nb\ntls\n"}},
		{"cat config/a /srv/config/tls/../b", result{out: "1\n2\n"}},
		{"cat /etc/one", result{out: "secret"}},
		{"ls /srv/$", result{out: "key\n"}},
		{"ls -1 /srv/config/tls/key config/tmp", result{out: "/srv/config/tls/key:\n/srv/config/tls/key\n\nconfig/tmp:\n"}},
		{"ls /part", result{}},
		{"cat /srv/config/tls", result{err: "cat: /srv/config/tls: is a directory\n", code: 1}},
		{"cat config/c config/a", result{out: "1\n", err: "cat: config/c: no such file or directory\n", code: 1}},
		{"ls config/tmp/x", result{err: "ls: config/tmp/x: no such file or directory\n", code: 1}},
		{"ls /host", result{err: "ls: /host: not this machine's\n", code: 1}},
		{"ps", result{out: "PID   COMMAND\n    1 web:1 --port=80 (simulated)\n"}},
	} {
		if diff := cmp.Diff(tc.want, s.run(t.Context(), strings.Fields(tc.command)), cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.command, diff)
		}
	}
	if got := s.run(t.Context(), []string{"sh", "-c", `echo "two words" 'x=1'`}); got.out != "two words x=1\n" || got.code != 0 {
		t.Errorf("sh -c answers %+v", got)
	}
	for _, command := range [][]string{{"touch", "/tmp/x"}, {"sh"}, {"cat", "/etc/passwd"}, {"cat", "config/../../etc/passwd"}, {"ls", "/"}, {"ls", "-l", "config"}, {"sh", "-c", "true; false"}, {}} {
		if got := s.run(t.Context(), command); got.code == 0 || got.err == "" {
			t.Errorf("%q answers %+v", command, got)
		}
	}
}

// Every file of this machine stays unread, and what a shell would do more with
// is refused rather than taken literally.
func FuzzWords(f *testing.F) {
	for _, seed := range []string{"", "echo hi", `echo "a b" 'c'`, "echo $HOME", "a=b env", "x | y", `echo "`, "echo 'it''s'", "\t \t"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got, err := words(line)
		if err != nil {
			return
		}
		quoted := make([]string, len(got))
		for i, word := range got {
			if strings.Contains(word, "'") {
				return
			}
			quoted[i] = "'" + word + "'"
		}
		again, err := words(strings.Join(quoted, " "))
		if err != nil || !slices.Equal(got, again) {
			t.Errorf("%q is %q, and quoted %q: %v", line, got, again, err)
		}
	})
}
