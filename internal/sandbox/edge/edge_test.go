package edge

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"
)

// patience is far beyond what anything here takes.
const patience = time.Minute

// silence is how long nothing must arrive for a line to count as cut; a line
// that is not cut takes microseconds.
const silence = 300 * time.Millisecond

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

func edgeOf(t *testing.T, target string) *Edge {
	t.Helper()
	e, err := Listen(Addresses{API: "127.0.0.1:0", Proxy: "127.0.0.1:0", Target: target})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func dial(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// tunnel asks the proxy for a way to the address.
func tunnel(t *testing.T, e *Edge, address string) (*net.TCPConn, *http.Response) {
	t.Helper()
	conn := dial(t, e.proxy.Addr().String())
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", address, address)
	conn.SetReadDeadline(time.Now().Add(patience))
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: http.MethodConnect})
	if err != nil {
		t.Fatal(err)
	}
	return conn, response
}

// says checks that the word comes back.
func says(t *testing.T, conn net.Conn, word string) {
	t.Helper()
	fmt.Fprint(conn, word)
	hears(t, conn, word)
}

func hears(t *testing.T, conn net.Conn, word string) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(word))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != word {
		t.Fatalf("%q came back as %q: %v", word, got, err)
	}
}

func hearsNothing(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(silence))
	n, err := conn.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a cut line gives %d bytes and %v", n, err)
	}
}

func TestAPartitionFreezesAndHealsWithoutLosingAByte(t *testing.T) {
	target := echo(t)
	e := edgeOf(t, target)
	in := dial(t, e.api.Addr().String())
	out, _ := tunnel(t, e, target)
	says(t, in, "before")
	says(t, out, "before")

	e.In.Set(Condition{Cut: Hang})
	fmt.Fprint(in, "during")
	late := dial(t, e.api.Addr().String())
	fmt.Fprint(late, "late")
	hearsNothing(t, in)
	hearsNothing(t, late)
	says(t, out, "the other line is not touched")

	e.In.Set(Condition{})
	hears(t, in, "during")
	hears(t, late, "late")
}

func TestTheEndOfAConnectionDoesNotCrossAPartition(t *testing.T) {
	e := edgeOf(t, echo(t))
	conn := dial(t, e.api.Addr().String())
	says(t, conn, "before")
	e.In.Set(Condition{Cut: Hang})
	conn.CloseWrite() // the echo would end, too
	hearsNothing(t, conn)
	e.In.Set(Condition{})
	conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after the partition: %v", err)
	}
}

func TestACallerWhoGivesUpDuringAPartitionIsForgotten(t *testing.T) {
	e := edgeOf(t, echo(t))
	e.In.Set(Condition{Cut: Hang})
	conn := dial(t, e.api.Addr().String())
	fmt.Fprint(conn, "hello?")
	there := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			e.In.mu.Lock()
			n := len(e.In.crossings)
			e.In.mu.Unlock()
			if n == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d callers are kept, want %d", n, want)
			}
		}
	}
	there(1)
	conn.Close()
	there(0)
}

func TestARejectingLineResetsWhatIsThereAndWhatComes(t *testing.T) {
	target := echo(t)
	e := edgeOf(t, target)
	in := dial(t, e.api.Addr().String())
	out, _ := tunnel(t, e, target)
	says(t, in, "before")
	e.In.Set(Condition{Cut: Reset})
	e.Out.Set(Condition{Cut: Reset})
	for name, conn := range map[string]net.Conn{"an established connection": in, "an established tunnel": out} {
		if err := reads(conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", name, err)
		}
	}
	for name, address := range map[string]net.Addr{"a new connection": e.api.Addr(), "a new tunnel": e.proxy.Addr()} {
		conn, err := net.Dial("tcp", address.String())
		if err == nil { // a reset can be faster than the dialler
			err = reads(conn)
		}
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v, want a reset", name, err)
		}
	}
}

// reads is what a byte that should not come is answered with.
func reads(conn net.Conn) error {
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	return err
}

func TestASlowLineTakesItsTime(t *testing.T) {
	e := edgeOf(t, echo(t))
	conn := dial(t, e.api.Addr().String())
	says(t, conn, "before")
	e.In.Set(Condition{Delay: 150 * time.Millisecond, Jitter: 20 * time.Millisecond})
	began := time.Now()
	says(t, conn, "there and back")
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("a round trip over 150 ms each way took %s", took)
	}
	e.In.Set(Condition{Bandwidth: 800_000}) // 100 kB a second
	began = time.Now()
	says(t, conn, string(bytes.Repeat([]byte("x"), 50_000)))
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("50 kB at 100 kB a second took %s", took)
	}
}

func TestMuchDataArrivesWholeAndInOrder(t *testing.T) {
	e := edgeOf(t, echo(t))
	for name, condition := range map[string]Condition{
		"a good line": {}, "a slow line": {Delay: time.Millisecond, Jitter: 5 * time.Millisecond},
	} {
		e.In.Set(condition)
		conn := dial(t, e.api.Addr().String())
		sent := make([]byte, 3<<20)
		rand.Read(sent)
		go func() {
			_, _ = conn.Write(sent)
			_ = conn.CloseWrite()
		}()
		conn.SetReadDeadline(time.Now().Add(patience))
		got, err := io.ReadAll(conn)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("over %s came %d of %d bytes: %v", name, len(got), len(sent), err)
		}
	}
}

func TestTheProxyOnlyConnects(t *testing.T) {
	e := edgeOf(t, echo(t))
	response, err := http.Get("http://" + e.proxy.Addr().String() + "/")
	if err != nil || response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a GET: %v, %v", response, err)
	}
	if _, response := tunnel(t, e, "127.0.0.1:1"); response.StatusCode != http.StatusBadGateway {
		t.Errorf("a tunnel to nobody: %s", response.Status)
	}
}
