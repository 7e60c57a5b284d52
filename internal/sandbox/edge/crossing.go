package edge

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	chunkSize = 16 << 10
	// inFlight chunks are on their way at most: a slow line holds 1 MiB, and
	// then its sender waits, as with a full window.
	inFlight = 64
)

var chunks = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// chunk is what was read at once, and when it arrives.
type chunk struct {
	data *[chunkSize]byte
	n    int
	due  time.Time
}

// crossing is one connection over a line: near dialled us, and we dial far.
type crossing struct {
	line   *Line
	near   *net.TCPConn
	ctx    context.Context
	cancel context.CancelFunc

	mu  sync.Mutex // guards far
	far *net.TCPConn
}

// answers are said to near before anything of the far side's.
type answers struct{ reached, unreached string }

// carry serves near until both sides have ended.
func (l *Line) carry(near *net.TCPConn, from io.Reader, address string, say answers) {
	ctx, cancel := context.WithCancel(context.Background())
	x := &crossing{line: l, near: near, ctx: ctx, cancel: cancel}
	if !l.add(x) {
		x.abort()
		return
	}
	defer x.close()
	defer l.drop(x)
	// A caller who gives up while the line is cut must not be kept until it
	// is healed: it may have called a thousand times by then.
	waiting, giveUp := context.WithCancel(ctx)
	defer giveUp()
	out := make(chan chunk, inFlight)
	go func() {
		err := x.read(from, out)
		giveUp()
		x.passOn(err)
	}()
	far, err := x.reach(waiting, address)
	if err != nil {
		if say.unreached == "" {
			x.abort()
			return
		}
		_, _ = io.WriteString(near, say.unreached) // near may have given up
		return
	}
	if _, err := io.WriteString(near, say.reached); err != nil {
		return
	}
	back := make(chan chunk, inFlight)
	go func() { x.passOn(x.read(far, back)) }()
	var group sync.WaitGroup
	group.Go(func() { x.write(far, out) })
	group.Go(func() { x.write(near, back) })
	group.Wait()
}

// reach dials the far side, at the price that the line takes.
func (x *crossing) reach(ctx context.Context, address string) (*net.TCPConn, error) {
	condition, _ := x.line.now()
	if err := sleep(ctx, condition.roundTrip()); err != nil {
		return nil, err
	}
	if err := x.line.pass(ctx); err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.far = conn.(*net.TCPConn)
	if x.ctx.Err() != nil { // aborted while we dialled
		x.far.Close()
	}
	return x.far, nil
}

// read gives each chunk the time at which it arrives on the other side. It
// returns nil at the end of what there is to read.
func (x *crossing) read(from io.Reader, into chan<- chunk) error {
	defer close(into)
	var free, last time.Time // when the line can take more; when what went before arrives
	for {
		data := chunks.Get().(*[chunkSize]byte)
		n, err := from.Read(data[:])
		if n > 0 {
			condition, _ := x.line.now()
			c := chunk{data: data, n: n, due: time.Now()}
			if condition.Bandwidth > 0 {
				free = latest(free, c.due).Add(condition.sending(n))
				c.due = free
			}
			c.due = latest(c.due.Add(condition.delay()), last)
			last = c.due
			select {
			case into <- c:
			case <-x.ctx.Done():
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// write delivers what is due, and the end after it; a cut line delivers
// neither.
func (x *crossing) write(to *net.TCPConn, from <-chan chunk) {
	for c := range from {
		if sleep(x.ctx, time.Until(c.due)) != nil || x.line.pass(x.ctx) != nil {
			return
		}
		_, err := to.Write(c.data[:c.n])
		chunks.Put(c.data)
		if err != nil {
			x.abort()
			return
		}
	}
	if x.line.pass(x.ctx) == nil {
		_ = to.CloseWrite() // the other side may have gone by itself
	}
}

// passOn tells one side of the other's reset, once the line lets it through.
func (x *crossing) passOn(err error) {
	if err != nil && x.line.pass(x.ctx) == nil {
		x.abort()
	}
}

// abort resets both sides: what is on its way to them is lost.
func (x *crossing) abort() {
	x.mu.Lock()
	for _, conn := range []*net.TCPConn{x.near, x.far} {
		if conn != nil {
			_ = conn.SetLinger(0)
		}
	}
	x.mu.Unlock()
	x.close()
}

func (x *crossing) close() {
	x.cancel()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, conn := range []*net.TCPConn{x.near, x.far} {
		if conn != nil {
			_ = conn.Close() // a second time after an abort
		}
	}
}
