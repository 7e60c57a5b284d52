package signin

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/oauth2"
)

// answer is what the provider had the browser bring back.
type answer struct {
	code string
	err  error
}

// byCode waits on loopback for the browser to come back with a code, and trades
// it in. PKCE makes the code worthless to another program that sees it, the
// state makes another sign-in's answer worthless here.
func (l *Login) byCode(ctx context.Context, config *oauth2.Config) (*oauth2.Token, string, error) {
	redirect, listener, err := listenForBrowser(ctx, l.Redirect)
	if err != nil {
		return nil, "", err
	}
	config.RedirectURL = redirect.String()
	state, nonce, verifier := rand.Text(), rand.Text(), oauth2.GenerateVerifier()
	answers := make(chan answer, 1)
	server := &http.Server{Handler: callback(redirect.Path, state, answers), ReadHeaderTimeout: callTimeout}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(listener) // it ends with the wait below
	}()
	defer func() {
		// The browser's page is let through before the program ends.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			_ = server.Close()
		}
		<-ended
	}()
	l.show(config.AuthCodeURL(state, oauth2.S256ChallengeOption(verifier), oauth2.SetAuthURLParam("nonce", nonce)))
	select {
	case <-ctx.Done():
		return nil, "", context.Cause(ctx)
	case a := <-answers:
		if a.err != nil {
			return nil, "", a.err
		}
		token, err := config.Exchange(ctx, a.code, oauth2.VerifierOption(verifier))
		return token, nonce, refusal(err)
	}
}

// listenForBrowser opens the redirect's port on this machine, whatever name of
// it the redirect has.
func listenForBrowser(ctx context.Context, address string) (*url.URL, net.Listener, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost" {
		return nil, nil, fmt.Errorf("the redirect %q is not of the form http://127.0.0.1:PORT/PATH or http://localhost:PORT/PATH", address)
	}
	port := u.Port()
	if port == "" {
		port = "0"
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, nil, fmt.Errorf("wait for the browser: %w", err)
	}
	_, port, err = net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	u.Host = net.JoinHostPort(u.Hostname(), port)
	if u.Path == "" {
		u.Path = "/"
	}
	return u, listener, nil
}

// callback takes the first answer that carries the state; what other pages or
// programs send is refused, and ends nothing.
func callback(path, state string, answers chan<- answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		query := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != path {
			http.NotFound(w, r)
			return
		}
		if subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(state)) != 1 {
			http.Error(w, "This is not the answer to the sign-in that atoll waits for.", http.StatusBadRequest)
			return
		}
		a, words := answer{code: query.Get("code")}, "You are signed in. Go back to the terminal."
		if a.code == "" {
			a.err = fmt.Errorf("the provider refuses: %q %q", query.Get("error"), query.Get("error_description"))
			words = "You are not signed in. The terminal says why."
		}
		select {
		case answers <- a:
		default: // one came before
		}
		fmt.Fprintln(w, words)
	})
}

func (l *Login) show(address string) {
	if l.Open != nil {
		if err := l.Open(address); err == nil {
			l.Say("A browser opens to sign in at %s. If it does not, open:\n%s", l.Hub.Issuer, address)
			return
		}
	}
	l.Say("Open in a browser of this machine, to sign in at %s:\n%s", l.Hub.Issuer, address)
}

// OpenBrowser has the desktop show a URL.
func OpenBrowser(address string) error {
	program := []string{"xdg-open"}
	switch runtime.GOOS {
	case "darwin":
		program = []string{"open"}
	case "windows":
		program = []string{"rundll32", "url.dll,FileProtocolHandler"}
	}
	cmd := exec.Command(program[0], append(program[1:], address)...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("open a browser: %w", err)
	}
	go func() { _ = cmd.Wait() }() // whether a page shows, nobody can tell
	return nil
}
