package link

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"
)

func TestAClockThatIsWrongIsSaidInWords(t *testing.T) {
	p := open(t, Config{})
	other := newAuthority(t)
	for name, c := range map[string]struct {
		skew  time.Duration
		name  string
		roots *x509.CertPool
		want  string // "" is Go's own words
	}{
		"far behind":             {-100 * time.Hour, "hub", p.authority.pool, "behind, for the hub's certificate"},
		"far ahead":              {100 * time.Hour, "hub", p.authority.pool, "ahead, for the hub's certificate"},
		"behind, another's name": {-100 * time.Hour, "elsewhere", p.authority.pool, ""},
		"behind, other roots":    {-100 * time.Hour, "hub", other.pool, ""},
		"right, other roots":     {0, "hub", other.pool, ""},
	} {
		cfg := p.dialConfig(p.authority.leaf(t, "eu-1", time.Hour))
		cfg.ServerName, cfg.Roots = c.name, func() *x509.CertPool { return c.roots }
		cfg.Now = func() time.Time { return time.Now().Add(c.skew) }
		_, err := Dial(t.Context(), cfg)
		switch {
		case err == nil:
			t.Errorf("%s: the hub was believed", name)
		case c.want == "" && strings.Contains(err.Error(), "clock"):
			t.Errorf("%s: %v", name, err)
		case !strings.Contains(err.Error(), c.want) || c.want != "" && !strings.Contains(err.Error(), "is at least 9"):
			t.Errorf("%s: %v", name, err)
		}
	}
}
