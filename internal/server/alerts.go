package server

import (
	"context"
	"net/http"

	"atoll.dev/atoll/internal/alert"
	"atoll.dev/atoll/internal/certificates"
	"atoll.dev/atoll/internal/fleet"
)

func (s *server) alerts(r *http.Request) (any, error) {
	at := s.Now()
	all, err := s.firing(r.Context())
	if err != nil {
		return nil, err
	}
	return fleet.Alerts{At: at, Alerts: append([]alert.Alert{}, all...)}, nil
}

func (s *server) firing(ctx context.Context) ([]alert.Alert, error) {
	state, err := s.Watched(ctx)
	if err != nil {
		return nil, err
	}
	return alert.Evaluate(state, s.Now()), nil
}

func (s *server) certificates(r *http.Request) (any, error) {
	state, err := s.Watched(r.Context())
	if err != nil {
		return nil, err
	}
	all := append([]certificates.Certificate{}, state.Certificates...)
	certificates.Sort(all)
	return fleet.Certificates{At: s.Now(), Certificates: all}, nil
}

// alertPart counts what is listed elsewhere; the rows of the overview say what to do.
func (s *server) alertPart(ctx context.Context, o *fleet.Overview) error {
	all, err := s.firing(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	n, worst := alert.Count(all), all[0]
	o.Alerts = fleet.AlertTotals{Critical: n[alert.Critical], Warning: n[alert.Warning], Info: n[alert.Info], Worst: &worst}
	return nil
}
