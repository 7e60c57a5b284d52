package join

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"sigs.k8s.io/yaml"
)

// Ticket is what an agent must know to join. The token works once, for one
// hour, for this cluster.
type Ticket struct {
	Cluster string `json:"cluster"`
	Token   string `json:"token"`
	// Address is the hub's port for agents, as host:port.
	Address string `json:"address"`
	// Roots are the roots to pin, as internal/trust writes them.
	Roots string `json:"roots"`
}

// The keys of the bootstrap Secret, which are also the files in the agent's
// bootstrap folder and the fields of a bootstrap file.
const (
	KeyCluster = "cluster"
	KeyToken   = "token"
	KeyAddress = "address"
	KeyRoots   = "roots"
)

// Encode is the bootstrap file of an agent outside its cluster.
func (t Ticket) Encode() ([]byte, error) {
	data, err := yaml.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode the bootstrap file of %s: %w", t.Cluster, err)
	}
	return data, nil
}

// ParseTicket reads a bootstrap file.
func ParseTicket(data []byte) (Ticket, error) {
	t := Ticket{}
	if err := yaml.UnmarshalStrict(data, &t); err != nil {
		return Ticket{}, fmt.Errorf("read the bootstrap file: %w", err)
	}
	return t, t.Check()
}

// TicketFrom reads a ticket key by key, as files or as a Secret's data.
func TicketFrom(read func(key string) ([]byte, error)) (Ticket, error) {
	t := Ticket{}
	for key, field := range map[string]*string{KeyCluster: &t.Cluster, KeyToken: &t.Token, KeyAddress: &t.Address, KeyRoots: &t.Roots} {
		data, err := read(key)
		if err != nil {
			return Ticket{}, fmt.Errorf("read %s of the bootstrap: %w", key, err)
		}
		*field = strings.TrimSpace(string(data))
	}
	return t, t.Check()
}

// Check tells every field that is missing or malformed.
func (t Ticket) Check() error {
	var problems []error
	for _, f := range []struct{ key, value string }{{KeyCluster, t.Cluster}, {KeyToken, t.Token}, {KeyAddress, t.Address}, {KeyRoots, t.Roots}} {
		if f.value == "" {
			problems = append(problems, fmt.Errorf("the bootstrap has no %s", f.key))
		}
	}
	if t.Address != "" {
		if _, _, err := net.SplitHostPort(t.Address); err != nil {
			problems = append(problems, fmt.Errorf("the bootstrap's address %q is not host:port", t.Address))
		}
	}
	return errors.Join(problems...)
}
