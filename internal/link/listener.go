package link

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"atoll.dev/atoll/internal/wire"
)

// Config says whom a Listener lets in and who serves them.
type Config struct {
	// GetCertificate is the gateway's certificate.
	GetCertificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// Roots verify agents' certificates. It is asked at every handshake and
	// should return the same pool until the roots change.
	Roots func() *x509.CertPool
	// VerifyPeer decides about a certificate that the roots verified. An error
	// with a method Refusal() wire.Refusal is told to the agent; any other as Busy.
	VerifyPeer func(context.Context, *x509.Certificate) error
	// Renew serves joining and renewal.
	Renew http.Handler
	// OnSession serves a link; the session is closed when it returns. The
	// context is that of Serve.
	OnSession func(context.Context, *Session)
	// Stamp stands in the refusals that the listener itself sends.
	Stamp  func() wire.Stamp
	Limits Limits
	// Now is the clock that certificates are checked by; default time.Now.
	Now func() time.Time
	Log *slog.Logger
}

// Listener is the agents' port: one TCP port, two protocols told apart by ALPN.
type Listener struct {
	cfg       Config
	tcp       net.Listener
	tls       *tls.Config
	admission *admission
	renewal   *renewal

	mu       sync.Mutex
	sessions map[*Session]struct{}
	closing  bool
	running  sync.WaitGroup // handshakes and sessions
}

// Listen binds addr ("127.0.0.1:7444"); Serve answers.
func Listen(addr string, cfg Config) (*Listener, error) {
	cfg.Limits = cfg.Limits.withDefaults()
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	lc := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}}
	tcp, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for agents on %s: %w", addr, err)
	}
	return &Listener{
		cfg:       cfg,
		tcp:       tcp,
		tls:       newTLSConfigs(cfg).server(),
		admission: newAdmission(cfg.Limits),
		renewal:   newRenewal(cfg.Renew, tcp.Addr()),
		sessions:  map[*Session]struct{}{},
	}, nil
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.tcp.Addr() }

// Sessions is how many links live.
func (l *Listener) Sessions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.sessions)
}

// Serve answers until ctx is done, then closes every link and returns nil once
// the last OnSession has returned.
func (l *Listener) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, l.shutdown)
	defer stop()
	l.running.Go(l.renewal.serve)
	err := l.accept(ctx)
	cancel()
	l.shutdown()
	l.running.Wait()
	return err
}

func (l *Listener) accept(ctx context.Context) error {
	for {
		conn, err := l.tcp.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept agents on %s: %w", l.tcp.Addr(), err)
		default:
			// Out of descriptors, or the peer left early: others may still come.
			l.cfg.Log.Warn("cannot accept a connection", "error", err)
			pause(ctx, 100*time.Millisecond)
			continue
		}
		release, ok := l.admission.admit(conn.RemoteAddr())
		if !ok {
			l.cfg.Log.Warn("too many connections without a proven key", "remote", conn.RemoteAddr().String())
			_ = conn.Close()
			continue
		}
		l.running.Go(func() { l.handshake(ctx, conn, release) })
	}
}

// handshake ends as soon as the connection is somebody else's: its stack has
// grown by verifying certificates, and an idle link need not keep that.
func (l *Listener) handshake(serving context.Context, raw net.Conn, release func()) {
	ctx, cancel := context.WithTimeout(serving, l.cfg.Limits.Handshake)
	defer cancel()
	conn := tls.Server(raw, l.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		l.cfg.Log.Debug("handshake failed", "remote", raw.RemoteAddr().String(), "error", err)
		_ = raw.Close()
		release()
		return
	}
	if conn.ConnectionState().NegotiatedProtocol == wire.ProtoRenew {
		l.renewal.offer(conn, release)
		return
	}
	session, err := l.establish(ctx, conn)
	release()
	if err != nil {
		l.cfg.Log.Info("link refused", "remote", raw.RemoteAddr().String(), "error", err)
		_ = raw.Close()
		return
	}
	l.start(serving, session)
}

func (l *Listener) shutdown() {
	l.mu.Lock()
	l.closing = true
	sessions := l.sessions
	l.sessions = map[*Session]struct{}{}
	l.mu.Unlock()

	_ = l.tcp.Close() // nobody listens to its error any more
	l.renewal.close()
	var closing sync.WaitGroup
	for s := range sessions {
		closing.Go(func() { s.Close(ErrShutdown) })
	}
	closing.Wait()
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
