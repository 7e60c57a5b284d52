package prometheus_test

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"atoll.dev/atoll/internal/egress"
	"atoll.dev/atoll/internal/prometheus"
)

func TestOneNumberIsReadAndNothingElse(t *testing.T) {
	for _, tc := range []struct {
		name, answer string
		want         float64
		refused      string
	}{
		{"a scalar", `{"status":"success","data":{"resultType":"scalar","result":[1700000000.1,"0.25"]}}`, 0.25, ""},
		{"a vector of one", `{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1,"3"]}]}}`, 3, ""},
		{"no series", `{"status":"success","data":{"resultType":"vector","result":[]}}`, 0, "0 series"},
		{"two series", `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"3"]},{"value":[1,"4"]}]}}`, 0, "2 series"},
		{"not a number", `{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}`, 0, "no number"},
		{"no end", `{"status":"success","data":{"resultType":"scalar","result":[1,"+Inf"]}}`, 0, "no number"},
		{"a matrix", `{"status":"success","data":{"resultType":"matrix","result":[]}}`, 0, `"matrix"`},
		{"a mistake in the query", `{"status":"error","errorType":"bad_data","error":"parse error: unexpected end"}`, 0, "unexpected end"},
		{"another program", `<html>`, 0, "no answer of Prometheus"},
		{"half a sample", `{"status":"success","data":{"resultType":"scalar","result":[1]}}`, 0, "cannot be read"},
	} {
		got, err := prometheus.Parse([]byte(tc.answer))
		if (err != nil) != (tc.refused != "") || err != nil && !strings.Contains(err.Error(), tc.refused) || got != tc.want {
			t.Errorf("%s: %v, %v", tc.name, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"3"]}]}}`))
	f.Add([]byte(`{"status":"success","data":{"resultType":"scalar","result":[1,"1e999"]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := prometheus.Parse(data); err == nil && (math.IsNaN(v) || math.IsInf(v, 0)) {
			t.Errorf("%q gives %v", data, v)
		}
	})
}

func TestAServerIsAskedWhereTheHubMayDial(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch query := r.FormValue("query"); {
		case r.URL.Path != "/prom/api/v1/query" || r.Method != http.MethodPost:
			w.WriteHeader(http.StatusNotFound)
		case query == "away":
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
		case query == "long":
			_, _ = w.Write(make([]byte, 2<<20))
		default:
			fmt.Fprintf(w, `{"status":"success","data":{"resultType":"scalar","result":[1,"%d"]}}`, len(query))
		}
	}))
	defer server.Close()
	allowed := prometheus.New(egress.Guard{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	if v, err := allowed.Ask(t.Context(), server.URL+"/prom/", "up{a=\"b&c\"}"); err != nil || v != 11 {
		t.Errorf("%v, %v", v, err)
	}
	for query, word := range map[string]string{"away": "307", "long": "longer than"} {
		if _, err := allowed.Ask(t.Context(), server.URL+"/prom", query); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", query, err)
		}
	}
	if _, err := allowed.Ask(t.Context(), server.URL, "up"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("%v", err)
	}
	if _, err := prometheus.New(egress.Guard{}).Ask(t.Context(), server.URL+"/prom", "up"); err == nil || !strings.Contains(err.Error(), "--source-allow") {
		t.Errorf("the hub's own machine is dialled: %v", err)
	}
}
