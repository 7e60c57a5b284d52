package gitserver

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

func (s *Server) serveShell() error {
	_, host, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	signer, err := ssh.NewSignerFromKey(host)
	if err != nil {
		return err
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return err
	}
	known, err := ssh.NewPublicKey(public)
	if err != nil {
		return err
	}
	s.Identity, s.hostKey = pem.EncodeToMemory(block), signer.PublicKey()
	s.config = &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(known.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	s.config.AddHostKey(signer)
	if s.shell, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for ssh: %w", err)
	}
	go s.acceptShells()
	return nil
}

// KnownHosts is the line that tells this server from others.
func (s *Server) KnownHosts() []byte {
	return []byte(knownhosts.Line([]string{s.shell.Addr().String()}, s.hostKey) + "\n")
}

func (s *Server) acceptShells() {
	for {
		conn, err := s.shell.Accept()
		if err != nil {
			return
		}
		go s.serveConn(conn)
	}
}

func (s *Server) serveConn(conn net.Conn) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, s.config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go s.session(channel, requests)
	}
}

func (s *Server) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		if r.Type != "exec" {
			_ = r.Reply(false, nil)
			continue
		}
		var command struct{ Line string }
		if err := ssh.Unmarshal(r.Payload, &command); err != nil {
			_ = r.Reply(false, nil)
			return
		}
		_ = r.Reply(true, nil)
		status := struct{ Code uint32 }{s.run(channel, command.Line)}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(&status))
		return
	}
}

func (s *Server) run(channel ssh.Channel, line string) uint32 {
	name, ok := strings.CutPrefix(line, "git-upload-pack '")
	path, err := s.path(strings.TrimSuffix(name, "'"))
	if !ok || err != nil {
		_, _ = io.WriteString(channel.Stderr(), "ERROR: only reading is served here\n")
		return 1
	}
	if _, err := os.Stat(path); err != nil {
		_, _ = io.WriteString(channel.Stderr(), "ERROR: Repository not found.\n")
		return 128
	}
	cmd := exec.Command("git", "upload-pack", "--strict", path)
	cmd.Env, cmd.Stdout, cmd.Stderr = environment(), channel, channel.Stderr()
	in, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return 1
	}
	go func() {
		_, _ = io.Copy(in, channel)
		_ = in.Close()
	}()
	if cmd.Wait() != nil {
		return 1
	}
	return 0
}
