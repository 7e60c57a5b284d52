package server

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestACallIntoAClusterIsRecordedUnlessItOnlyReadsOrAsks(t *testing.T) {
	for call, want := range map[string]bool{
		"GET /api/v1/namespaces/web/pods":                                       false,
		"POST /api/v1/namespaces/web/pods":                                      true,
		"POST /api/v1/namespaces/web/pods?dryRun=All":                           false,
		"GET /api/v1/namespaces/web/pods/web-1/exec?command=sh":                 true,
		"GET /api/v1/watch/namespaces/web/secrets":                              true,
		"PATCH /api/v1/namespaces/web/secrets/door?dryRun=All":                  true,
		"POST /api/v1/namespaces/web/serviceaccounts/deployer/token?dryRun=All": true,
		"POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews":           false,
	} {
		method, path, _ := strings.Cut(call, " ")
		r := httptest.NewRequest(method, path, nil)
		if _, keep := tunnelled(r, "eu-1", r.URL.Path); keep != want {
			t.Errorf("%s: recorded is %v", call, keep)
		}
	}
}
