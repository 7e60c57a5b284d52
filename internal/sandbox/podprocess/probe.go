package podprocess

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ask asks a probe once; an error is why the answer is no.
func (c *container) ask(ctx context.Context, p *corev1.Probe, l launch) error {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(p.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	switch {
	case p.HTTPGet != nil:
		return askHTTP(ctx, p.HTTPGet, cmp.Or(p.HTTPGet.Host, here(c.of)), c.spec.Ports)
	case p.TCPSocket != nil:
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", place(cmp.Or(p.TCPSocket.Host, here(c.of)), p.TCPSocket.Port, c.spec.Ports))
		if err != nil {
			return err
		}
		return conn.Close()
	case p.Exec != nil:
		return askProgram(ctx, p.Exec.Command, l)
	}
	return errors.New("the sandbox asks by HTTP, TCP and the agent's own commands")
}

// here is the loopback address that stands for the pod's own, as it does for
// pods that are simulated: of 10.1.2.3 it is 127.1.2.3.
func here(pod *corev1.Pod) string {
	if rest, ok := strings.CutPrefix(pod.Status.PodIP, "10."); ok {
		return "127." + rest
	}
	return "127.0.0.1"
}

// place is where a probe finds the container, which is on this machine.
func place(host string, port intstr.IntOrString, ports []corev1.ContainerPort) string {
	number := port.IntValue()
	for _, p := range ports {
		if port.Type == intstr.String && p.Name == port.StrVal {
			number = int(p.ContainerPort)
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(number))
}

// prober does not verify certificates, as kubelets do not.
var prober = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func askHTTP(ctx context.Context, get *corev1.HTTPGetAction, host string, ports []corev1.ContainerPort) error {
	scheme := "http"
	if get.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+place(host, get.Port, ports)+get.Path, nil)
	if err != nil {
		return err
	}
	for _, h := range get.HTTPHeaders {
		request.Header.Add(h.Name, h.Value)
	}
	response, err := prober.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode < 200 || response.StatusCode >= 400 {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}

// askProgram runs the container's own program, and no other, with other words.
func askProgram(ctx context.Context, command []string, l launch) error {
	words, err := commandLine(command)
	if err != nil {
		return err
	}
	if words, err = root(l.dir).words(words); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, l.path, words...)
	cmd.Dir, cmd.Env = l.dir, l.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %.200s", err, out)
	}
	return nil
}

// follow tells each time that the answer becomes another, beginning with the
// opposite of was. It ends with ctx, or when told says so.
func (c *container) follow(ctx context.Context, p *corev1.Probe, l launch, was bool, told func(ok bool, why error) (enough bool)) {
	if !sleep(ctx, time.Duration(p.InitialDelaySeconds)*time.Second) {
		return
	}
	for streak := int32(0); ; {
		why := c.ask(ctx, p, l)
		if ok := why == nil; ok == was {
			streak = 0
		} else if streak++; streak >= threshold(p, ok) {
			was, streak = ok, 0
			if told(ok, why) {
				return
			}
		}
		if !sleep(ctx, period(p)) {
			return
		}
	}
}

// starts waits until the container says that it has begun.
func (c *container) starts(ctx context.Context, p *corev1.Probe, l launch, dead chan<- error) bool {
	if !sleep(ctx, time.Duration(p.InitialDelaySeconds)*time.Second) {
		return false
	}
	for failures := int32(1); ; failures++ {
		why := c.ask(ctx, p, l)
		switch {
		case why == nil:
			return true
		case failures >= threshold(p, false):
			dead <- fmt.Errorf("it does not start: %w", why)
			return false
		case !sleep(ctx, period(p)):
			return false
		}
	}
}

// period is how often a probe is asked.
func period(p *corev1.Probe) time.Duration {
	return time.Duration(cmp.Or(max(p.PeriodSeconds, 0), 10)) * time.Second
}

func threshold(p *corev1.Probe, ok bool) int32 {
	switch {
	case ok:
		return max(p.SuccessThreshold, 1)
	case p.FailureThreshold > 0:
		return p.FailureThreshold
	}
	return 3
}

// watch asks the probes of a container that runs: first of its start, then of
// its readiness and its life. When it must end, watch says why on dead.
func (c *container) watch(ctx context.Context, l launch, dead chan<- error) {
	if p := c.spec.StartupProbe; p != nil && !c.starts(ctx, p, l, dead) {
		return
	}
	c.change(func(s *corev1.ContainerStatus) {
		yes := true
		s.Started, s.Ready = &yes, c.spec.ReadinessProbe == nil
	})
	if p := c.spec.LivenessProbe; p != nil {
		go c.follow(ctx, p, l, true, func(_ bool, why error) bool { dead <- why; return true })
	}
	if p := c.spec.ReadinessProbe; p != nil {
		c.follow(ctx, p, l, false, func(ok bool, why error) bool {
			if !ok {
				c.event(corev1.EventTypeWarning, "Unhealthy", "Readiness probe failed: "+why.Error())
			}
			c.change(func(s *corev1.ContainerStatus) { s.Ready = ok })
			return false
		})
	}
}
