package hub

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"atoll.dev/atoll/api/v1alpha1"
	"atoll.dev/atoll/internal/access"
	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/certificates"
	"atoll.dev/atoll/internal/fleet"
)

// alertReceiver is an Alertmanager: it remembers of what it was told.
type alertReceiver struct {
	*httptest.Server
	mu   sync.Mutex
	told map[string]bool
}

func newAlertReceiver() *alertReceiver {
	m := &alertReceiver{told: map[string]bool{}}
	m.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var posted []struct{ Labels map[string]string }
		if r.URL.Path != "/api/v2/alerts" || json.NewDecoder(r.Body).Decode(&posted) != nil {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, p := range posted {
			m.told[p.Labels["alertname"]+" "+p.Labels["project"]+"/"+p.Labels["application"]] = true
		}
	}))
	return m
}

func (m *alertReceiver) heard(of string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.told[of]
}

// alerts says that a rule alerts of an application wherever somebody may learn it.
func (b *bench) alerts(rule, subject string) {
	b.Helper()
	ctx := b.Context()
	answer, err := b.fleet.Alerts(ctx)
	b.must(err)
	if !slices.ContainsFunc(answer.Alerts, func(a alert.Alert) bool { return a.Name == rule && a.Subject() == subject }) {
		b.Errorf("nothing alerts %s of %s: %+v", rule, subject, answer.Alerts)
	}
	o, err := b.fleet.Overview(ctx)
	b.must(err)
	if o.Alerts.Total() == 0 || o.Alerts.Worst == nil {
		b.Errorf("the overview counts %+v", o.Alerts)
	}
	kube, err := kubernetes.NewForConfig(b.config)
	b.must(err)
	text, err := kube.RESTClient().Get().AbsPath(fleet.Path + "/metrics").DoRaw(ctx)
	b.must(err)
	if !strings.Contains(string(text), `atoll_hub_info{storage="embedded"`) || !strings.Contains(string(text), fmt.Sprintf(`atoll_alerts{alertname=%q`, rule)) ||
		strings.Contains(string(text), fmt.Sprintf(`atoll_alerts{alertname=%q,severity="warning"} 0`, rule)) {
		b.Errorf("the metrics are %s", text)
	}
	b.eventually("an Alertmanager is told", func() error {
		if !alertmanager.heard(rule + " " + subject) {
			return fmt.Errorf("it knows nothing of %s", subject)
		}
		return nil
	})
}

// certified says that the inventory has the hub's own certificates and that of an
// agent, and that nobody without a right learns of them.
func (b *bench) certified(cluster string) {
	b.Helper()
	answer, err := b.fleet.Certificates(b.Context())
	b.must(err)
	for _, use := range []string{"authority of the API", "API", "agents' root", "agents' next root", "agents' port", "agent"} {
		if !slices.ContainsFunc(answer.Certificates, func(c certificates.Certificate) bool {
			return c.Use == use && (use != "agent" || c.Name == cluster) && !c.Overdue(answer.At) && c.Expires.After(answer.At)
		}) {
			b.Errorf("no good certificate of %s in %+v", use, answer.Certificates)
		}
	}
	asVera := rest.CopyConfig(b.config)
	asVera.Impersonate = rest.ImpersonationConfig{UserName: "vera"}
	vera, err := kubernetes.NewForConfig(asVera)
	b.must(err)
	for _, what := range []string{"/alerts", "/certificates", "/metrics"} {
		if _, err := vera.RESTClient().Get().AbsPath(fleet.Path + what).DoRaw(b.Context()); !apierrors.IsForbidden(err) {
			b.Errorf("vera asks for %s: %v", what, err)
		}
	}
	b.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "vera-looks"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: access.ClusterRole(v1alpha1.RoleViewer)},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "vera"}},
	})
	for _, what := range []string{"/overview", "/alerts", "/certificates", "/metrics"} {
		b.eventually("a viewer of the fleet may look at "+what, func() error {
			_, err := vera.RESTClient().Get().AbsPath(fleet.Path + what).DoRaw(b.Context())
			return err
		})
	}
	b.must(b.client.Delete(b.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "vera-looks"}}))
}
