package bench

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const counted = `# HELP apiserver_request_total Counter of apiserver requests.
# TYPE apiserver_request_total counter
apiserver_request_total{code="201",component="apiserver",dry_run="",group="atoll.dev",resource="applications",scope="resource",subresource="",verb="POST",version="v1alpha1"} 3
apiserver_request_total{code="200",component="apiserver",dry_run="",group="atoll.dev",resource="applications",scope="resource",subresource="status",verb="APPLY",version="v1alpha1"} 7
apiserver_request_total{code="200",component="apiserver",dry_run="",group="atoll.dev",resource="applications",scope="resource",subresource="status",verb="PATCH",version="v1alpha1"} 1
apiserver_request_total{code="409",component="apiserver",dry_run="",group="atoll.dev",resource="applications",scope="resource",subresource="status",verb="APPLY",version="v1alpha1"} 90
apiserver_request_total{code="200",component="apiserver",dry_run="All",group="atoll.dev",resource="applications",scope="resource",subresource="",verb="APPLY",version="v1alpha1"} 90
apiserver_request_total{code="200",component="apiserver",dry_run="",group="atoll.dev",resource="applications",scope="cluster",subresource="",verb="LIST",version="v1alpha1"} 90
apiserver_request_total{code="0",component="apiserver",dry_run="",group="atoll.dev",resource="applications",scope="cluster",subresource="",verb="WATCH",version="v1alpha1"} 90
apiserver_request_total{code="201",component="apiserver",dry_run="",group="authorization.k8s.io",resource="subjectaccessreviews",scope="resource",subresource="",verb="POST",version="v1"} 90
apiserver_request_total{code="200",component="apiserver",dry_run="",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PUT",version="v1"} 5
apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="",scope="",subresource="/readyz",verb="GET",version=""} 90
`

func TestOnlyWhatIsStoredIsAWrite(t *testing.T) {
	writes, err := CountWrites(strings.NewReader(counted))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Writes{"applications": 3, "applications/status": 8, "leases": 5}, writes); diff != "" {
		t.Error(diff)
	}
	since := writes.Since(Writes{"applications": 1, "leases": 5})
	if diff := cmp.Diff(Writes{"applications": 2, "applications/status": 8}, since); diff != "" {
		t.Error(diff)
	}
	if of, rest := writes.Take("leases", "applications/status", "nothing"); of != 13 || rest != 3 {
		t.Errorf("%d by the clock and %d others", of, rest)
	}
}

func TestMetricsWithoutTheCountAreNoZero(t *testing.T) {
	for _, text := range []string{"", "up 1\n", "apiserver_request_total{"} {
		if writes, err := CountWrites(strings.NewReader(text)); err == nil {
			t.Errorf("%q counts as %v", text, writes)
		}
	}
}
