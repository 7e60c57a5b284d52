package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"time"
)

// maxBody is in bytes.
const maxBody = 64 << 10

// pendingRetry is how often an agent asks whether it was accepted.
const pendingRetry = 5 * time.Second

// ServerConfig says what the hub's side of the protocol works with.
type ServerConfig struct {
	CA       *CA
	Registry Registry
	// PerSecond and Burst bound the requests of one address. Default 100 and
	// 2,000: a fleet behind one NAT must come back within a minute.
	PerSecond float64
	Burst     int
	// Rebuild is nil unless the registry was lost.
	Rebuild *Rebuild
	// Now is the hub's clock; default time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Server answers agents that join and renew, and checks those that connect.
type Server struct {
	ca       *CA
	registry Registry
	nonces   *nonces
	limiter  *limiter
	rebuild  *Rebuild
	now      func() time.Time
	log      *slog.Logger
}

// NewServer is the hub's side of the protocol.
func NewServer(c ServerConfig) *Server {
	if c.PerSecond == 0 {
		c.PerSecond, c.Burst = 100, 2_000
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{
		rebuild: c.Rebuild,
		ca:      c.CA, registry: c.Registry, now: c.Now, log: c.Log,
		nonces: newNonces(c.Now), limiter: newLimiter(c.PerSecond, c.Burst, c.Now),
	}
}

// Handler serves the frozen v0 protocol.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST "+PathChallenge, endpoint(s, s.challenge))
	mux.Handle("POST "+PathJoin, endpoint(s, s.join))
	mux.Handle("POST "+PathRenew, endpoint(s, s.renew))
	return mux
}

func (s *Server) challenge(_ context.Context, req *ChallengeRequest) (*Challenge, error) {
	if !clusterName.MatchString(req.Cluster) {
		return nil, badName()
	}
	// Not looked up: the answer must not tell a stranger which clusters exist.
	return &Challenge{Nonce: s.nonces.make(req.Cluster)}, nil
}

// endpoint decodes, answers and tells refusals; other errors are logged and
// told as Busy.
func endpoint[Req, Resp any](s *Server, answer func(context.Context, *Req) (*Resp, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.limiter.allow(r.RemoteAddr) {
			writeRefusal(w, refuse(Busy, "too many requests from this address").retry(15*time.Second))
			return
		}
		req, err := decode[Req](w, r)
		var resp *Resp
		if err == nil {
			resp, err = answer(r.Context(), req)
		}
		var refused *Refused
		switch {
		case err == nil:
			writeJSON(w, http.StatusOK, resp)
		case errors.As(err, &refused):
			s.log.Info("agent refused", "path", r.URL.Path, "remote", r.RemoteAddr, "reason", refused.Reason, "message", refused.Message)
			writeRefusal(w, refused)
		default:
			s.log.Error("agent not served", "path", r.URL.Path, "remote", r.RemoteAddr, "error", err)
			writeRefusal(w, refuse(Busy, "the hub cannot answer now").retry(15*time.Second))
		}
	})
}

func decode[Req any](w http.ResponseWriter, r *http.Request) (*Req, error) {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, refuse(BadRequest, "cannot read the request: %v", err)
	}
	req := new(Req)
	if err := json.Unmarshal(data, req); err != nil {
		return nil, refuse(BadRequest, "the request is not the JSON of this protocol: %v", err)
	}
	return req, nil
}

func writeRefusal(w http.ResponseWriter, r *Refused) {
	seconds := int(math.Ceil(r.RetryAfter.Seconds()))
	if seconds > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
	}
	writeJSON(w, statusOf[r.Reason], ErrorResponse{Reason: r.Reason, Message: r.Message, RetryAfterSeconds: seconds})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", body, err)) // only unencodable types fail, and ours are fixed
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(data) // an agent that hung up asks again
}
