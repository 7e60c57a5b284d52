package wire

import "fmt"

// StaleError is a message of a hub that has been succeeded.
type StaleError struct {
	// Got is the message's Stamp, Seen the newest obeyed before.
	Got, Seen Stamp
}

// Error says which term spoke and which was obeyed.
func (e *StaleError) Error() string {
	return fmt.Sprintf("a hub of term %d speaks, term %d was obeyed before: it is no longer the leader", e.Got.Term, e.Seen.Term)
}

// Obeys tells an agent whether it may follow a message stamped s when it has
// obeyed seen before: a lower term of the same incarnation is a *StaleError.
// Another incarnation is no error here, for what to hold then is the agent's
// decision; see Succeeds.
func (s Stamp) Obeys(seen Stamp) error {
	if s.Incarnation == "" {
		return fmt.Errorf("a message names no hub incarnation")
	}
	if s.Incarnation == seen.Incarnation && s.Term < seen.Term {
		return &StaleError{Got: s, Seen: seen}
	}
	return nil
}

// Succeeds reports whether s is of the same history as seen, or the first the
// agent ever meets. When it does not, a restored or rebuilt hub speaks.
func (s Stamp) Succeeds(seen Stamp) bool {
	return seen.Incarnation == "" || s.Incarnation == seen.Incarnation
}

// Next is s with the next sequence number.
func (s Stamp) Next() Stamp {
	s.Seq++
	return s
}
