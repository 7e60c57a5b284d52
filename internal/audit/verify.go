package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
)

// Verdict is what became of verifying a log.
type Verdict struct {
	// Log and Head are of the signed head; empty when there is none to believe.
	Log  string `json:"log,omitempty"`
	Head Head   `json:"head"`
	// First and Last are the records that were read, Records how many.
	First   uint64 `json:"first"`
	Last    uint64 `json:"last"`
	Records uint64 `json:"records"`
	Files   int    `json:"files"`
	// Findings are what is not as the hub wrote it; without any the log is whole.
	Findings []string `json:"findings,omitempty"`
	// Notes are what the hub itself says of crashes and gaps.
	Notes []string `json:"notes,omitempty"`
}

// maxFindings bounds what is told of each kind: after some the rest says nothing more.
const maxFindings = 20

// Verify reads the whole log in dir and holds it against itself and against its
// signed head, by the public key. A log that a hub writes meanwhile is verified up
// to the head that it had at the beginning. The error is of reading alone.
func Verify(ctx context.Context, dir string, key ed25519.PublicKey) (Verdict, error) {
	return verify(ctx, dir, key, false)
}

// Verify does the same of the log in use.
func (l *Log) Verify(ctx context.Context) (Verdict, error) {
	return verify(ctx, l.Dir, l.Key.Public().(ed25519.PublicKey), true)
}

func verify(ctx context.Context, dir string, key ed25519.PublicKey, live bool) (Verdict, error) {
	head, err := readHead(dir, key)
	if err != nil && !errors.Is(err, errNoHead) && !errors.Is(err, errForged) {
		return Verdict{}, err
	}
	v := &verifier{live: live, Verdict: Verdict{Log: head.Log, Head: head}}
	if err != nil {
		v.find("%v", err)
	} else {
		v.at, v.signed = link{head.First - 1, head.Previous}, head.Last == head.First-1
	}
	all, err := segments(dir)
	if err != nil {
		return Verdict{}, err
	}
	for _, s := range all {
		if v.over() {
			break
		}
		if err := v.segment(ctx, s); err != nil {
			return Verdict{}, err
		}
	}
	v.end()
	return v.Verdict, nil
}

// verifier is where a verification is.
type verifier struct {
	Verdict
	live bool
	// at is the record before; without a hash it is not known.
	at link
	// signed says that the head's last record was seen.
	signed bool
}

func (v *verifier) find(format string, args ...any) {
	v.Findings = tell(v.Findings, format, args...)
}

func tell(list []string, format string, args ...any) []string {
	if len(list) == maxFindings {
		return append(list, "and more")
	}
	if len(list) > maxFindings {
		return list
	}
	return append(list, fmt.Sprintf(format, args...))
}

// over says that a log in use goes on with what its head did not sign yet.
func (v *verifier) over() bool { return v.live && v.signed }

func (v *verifier) segment(ctx context.Context, s segment) error {
	if v.Head.First > 0 && s.first < v.Head.First {
		return nil // removed by its age, but for the file
	}
	v.Files++
	begins := true
	rest, err := s.walk(func(at int64, line []byte) error {
		if v.Records%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if v.over() {
			return errStop
		}
		next, prev, err := parse(line)
		if err != nil {
			v.find("%s, byte %d: %v; it was changed", s.name(), at, err)
			if v.at.seq > 0 {
				v.at = link{seq: v.at.seq + 1}
			}
			begins = false
			return nil
		}
		if begins && next.seq != s.first {
			v.find("%s begins with record %d; the file was replaced or cut at its beginning", s.name(), next.seq)
		}
		begins = false
		v.follow(s, next, prev)
		v.own(line)
		return nil
	})
	if err != nil {
		return err
	}
	if v.over() {
		return nil
	}
	return v.remainder(s, rest)
}

// follow holds a record against the one before and against the head.
func (v *verifier) follow(s segment, next link, prev string) {
	known := v.at.seq > 0 || v.at.hash != ""
	switch {
	case !known:
	case next.seq > v.at.seq+1:
		v.find("missing: %s, before record %d in %s", span(v.at.seq+1, next.seq-1), next.seq, s.name())
	case next.seq <= v.at.seq:
		v.find("record %d stands behind record %d in %s; it was inserted or moved", next.seq, v.at.seq, s.name())
	case v.at.hash != "" && prev != v.at.hash:
		v.find("record %d in %s does not follow the record %d that is there; one of both was replaced", next.seq, s.name(), v.at.seq)
	}
	if next.seq == v.Head.Last && v.Log != "" {
		v.signed = true
		if next.hash != v.Head.Hash {
			v.find("record %d is not the one that the head signs; it and what is before it were written anew", next.seq)
		}
	}
	if v.Records == 0 {
		v.First = next.seq
	}
	v.Records++
	v.Last = max(v.Last, next.seq)
	v.at = next
}

// ownVerbs begin each record that the log writes of itself. In what a caller sent
// the quotes would be escaped.
var ownVerbs = []byte(`"verb":"audit-`)

// own takes up what a hub said about its log.
func (v *verifier) own(line []byte) {
	if !bytes.Contains(line, ownVerbs) {
		return
	}
	r, err := decode(line)
	if err != nil {
		return // the hash is right, so it is as it was written
	}
	switch r.Verb {
	case Breached:
		v.find("record %d, of %s: %s", r.Sequence, r.Time.Format("2006-01-02 15:04:05Z07:00"), r.Message)
	case Gap, Recovered:
		v.Notes = tell(v.Notes, "record %d: %s", r.Sequence, r.Message)
	}
}

func (v *verifier) remainder(s segment, rest int64) error {
	size, err := s.size()
	if err != nil {
		return err
	}
	if rest < size {
		v.find("%s ends in %d bytes that are no whole record", s.name(), size-rest)
	}
	return nil
}

// end tells what the head promises and is not there, and the reverse.
func (v *verifier) end() {
	switch {
	case v.Log == "":
	case v.at.seq < v.Head.Last:
		v.find("cut off: %s; the head of %s signs %d as the last", span(v.at.seq+1, v.Head.Last), v.Head.Time.Format("2006-01-02 15:04:05Z07:00"), v.Head.Last)
	case !v.signed:
		v.find("record %d, which the head signs as the last, is not there", v.Head.Last)
	case v.at.seq > v.Head.Last:
		v.find("not signed: %s, behind the head; added by somebody, or a hub was killed here and has not started since", span(v.Head.Last+1, v.at.seq))
	}
}

func span(first, last uint64) string {
	if first == last {
		return fmt.Sprintf("record %d", first)
	}
	return fmt.Sprintf("records %d to %d", first, last)
}
