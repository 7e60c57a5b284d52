package hub

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// checkAddresses refuses what could not be listened on or dialled, and says so
// when agents of other machines cannot.
func (o *Options) checkAddresses(words io.Writer) error {
	for flag, address := range map[string]string{"--listen": o.Listen, "--agent-listen": o.AgentListen} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("%s %q is not host:port", flag, address)
		}
	}
	if o.PeerAddress != "" {
		if !o.external() {
			return errors.New("--peer-address is for several hubs of one store: add --etcd-servers, --kubeconfig or --in-cluster")
		}
		if err := checkPublic(o.PeerAddress, "other hubs"); err != nil {
			return fmt.Errorf("--peer-address %q %w", o.PeerAddress, err)
		}
	}
	for i, address := range o.PublicAddresses {
		dialledBy := ""
		if i == 0 {
			dialledBy = "agents"
		}
		if err := checkPublic(address, dialledBy); err != nil {
			return fmt.Errorf("--public-address %q %w", address, err)
		}
	}
	if dialled := o.dialled(o.AgentListen); loopback(dialled) {
		fmt.Fprintf(words, "agents are told to dial %s, which only this machine reaches; --public-address names another\n", dialled)
	}
	return nil
}

// checkPublic wants a port of what somebody is told to dial.
func checkPublic(address, dialledBy string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil && dialledBy != "" {
		return fmt.Errorf("is not host:port, and it is what %s are told to dial", dialledBy)
	}
	if err != nil {
		host = address
	} else if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("has no port between 1 and 65535")
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.IsUnspecified():
		return errors.New("is where to listen, and nothing that can be dialled")
	case err != nil && len(validation.IsDNS1123Subdomain(strings.ToLower(host))) > 0:
		return errors.New("is neither a name nor an address, with or without a port")
	}
	return nil
}

// dialled is what agents are told to dial: the first of the public addresses, or
// where their port listens.
func (o *Options) dialled(listens string) string {
	if len(o.PublicAddresses) > 0 {
		return o.PublicAddresses[0]
	}
	return listens
}

func loopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// agentNames are the names the agents' port must have a certificate for.
func (o *Options) agentNames() []string {
	names := []string{"localhost", "127.0.0.1"}
	for _, a := range slices.Concat([]string{o.AgentListen}, o.PublicAddresses) {
		host, _, err := net.SplitHostPort(a)
		if err != nil {
			host = a
		}
		if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
			names = append(names, host)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
