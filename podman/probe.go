package podman

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podman-swarm/podman-swarm/projection"
)

// errLearntNothing: Podman could not be asked, which says nothing of the program that a probe is about.
var errLearntNothing = errors.New("it could not be asked through Podman")

// ownHost is where a container is reached that has its host's network.
const ownHost = "127.0.0.1"

// execStarts is how many commands of probes are being started at a time. How long they run is not counted.
const execStarts = 8

// prober is what all probes of this host share.
type prober struct {
	engine Engine
	client *http.Client
	starts chan struct{} // one for each command that is being started
	goes   func(func())  // runs beside the loop, which waits for it in the end
}

func newProber(engine Engine, goes func(func())) *prober {
	return &prober{engine, probeClient(), make(chan struct{}, execStarts), goes}
}

// probeClient asks as Kubernetes does: a connection for each question, no proxy, any certificate, and redirects are followed
// on the same host only.
func probeClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DisableKeepAlives: true, DisableCompression: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // a container's certificate is for its users, not for who asks how it is
		},
		CheckRedirect: func(to *http.Request, via []*http.Request) error {
			switch {
			case to.URL.Hostname() != via[0].URL.Hostname():
				return http.ErrUseLastResponse
			case len(via) >= 10:
				return errors.New("more than 10 redirects")
			}
			return nil
		},
	}
}

// target is where one run of a container is asked.
type target struct {
	*prober
	container string
	ip        string            // where its ports are; "": they are reached where they are published, and no others
	names     map[string]int    // its ports that have names
	published []projection.Port // on this host
}

// targetOf is where the run is asked that is recorded; whole is what is of its pod, whose network it has.
func (b *prober) targetOf(p *pod, recorded, whole *projection.Replica) *target {
	t := &target{prober: b, container: recorded.Container, ip: whole.IP, published: whole.Ports, names: map[string]int{}}
	if p.spec.HostNetwork {
		t.ip = ownHost
	}
	for _, port := range p.one.Ports {
		if port.Name != "" {
			t.names[port.Name] = int(port.ContainerPort)
		}
	}
	return t
}

// address is where the port is reached; host is what the manifest says, "" for the container's own.
func (t *target) address(host string, port intstr.IntOrString) (string, error) {
	number := int(port.IntVal)
	if port.Type == intstr.String {
		if number = t.names[port.StrVal]; number == 0 {
			return "", fmt.Errorf("the container has no port named %q", port.StrVal)
		}
	}
	if host == "" {
		host = t.ip
	}
	if host != "" {
		return net.JoinHostPort(host, strconv.Itoa(number)), nil
	}
	for _, p := range t.published {
		if p.Container == number && p.Protocol == string(corev1.ProtocolTCP) {
			if host = p.HostIP; anyIP(host) {
				host = "127.0.0.1"
			}
			return net.JoinHostPort(host, strconv.Itoa(p.Host)), nil
		}
	}
	return "", fmt.Errorf("port %d cannot be reached: the container has no address on this host, and the port is none of its containerPorts", number)
}

// get asks over HTTP; nil is an answer from 200 to 399.
func (t *target) get(ctx context.Context, g *corev1.HTTPGetAction) error {
	at, err := t.address(g.Host, g.Port)
	if err != nil {
		return err
	}
	u, err := url.Parse(g.Path)
	if err != nil {
		u = &url.URL{Path: g.Path}
	}
	u.Scheme, u.Host = strings.ToLower(string(g.Scheme)), at
	if u.Scheme == "" {
		u.Scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "podman-swarm-probe")
	req.Header.Set("Accept", "*/*")
	own := http.Header{}
	for _, h := range g.HTTPHeaders {
		own.Add(h.Name, h.Value)
	}
	for name, values := range own {
		req.Header[name] = values
	}
	req.Host = own.Get("Host")
	resp, err := t.client.Do(req)
	if err != nil {
		return unanswered(ctx, err, u.Path, at)
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("HTTP %d from %s", resp.StatusCode, u.Path)
	}
	return nil
}

// dial connects; nil is a connection.
func (t *target) dial(ctx context.Context, s *corev1.TCPSocketAction) error {
	at, err := t.address(s.Host, s.Port)
	if err != nil {
		return err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", at)
	if err != nil {
		return unanswered(ctx, err, at, at)
	}
	return conn.Close()
}

// unanswered says why there was no answer, in words that are the same the next time.
func unanswered(ctx context.Context, err error, from, at string) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return fmt.Errorf("no answer from %s in time", from)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &errno):
		return fmt.Errorf("%w at %s", errno, at)
	}
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return err
}

// execution runs the command of one probe, one at a time: one that has not ended is not joined by another.
type execution struct {
	*target
	command []string
	pending chan error    // how the one under way ends; nil: there is none
	begun   chan struct{} // closed once it has been started
}

// ask runs the command, or waits for the one that has not ended yet; nil is an exit code of 0. limit is counted from when
// Podman has started the command.
func (e *execution) ask(ctx context.Context, limit time.Duration) error {
	if e.pending == nil {
		if err := e.start(ctx); err != nil {
			return err
		}
	}
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case err := <-e.pending:
		e.pending = nil
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
	}
	select {
	case <-e.begun:
		return fmt.Errorf("%s has not ended in time", e.command[0])
	default:
		return errLearntNothing
	}
}

// start has the command begin, and waits until it has, or has failed.
func (e *execution) start(ctx context.Context) error {
	select {
	case e.starts <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	pending, begun := make(chan error, 1), make(chan struct{})
	e.pending, e.begun = pending, begun
	tell := sync.OnceFunc(func() { close(begun); <-e.starts })
	e.goes(func() {
		err := e.run(ctx, tell)
		pending <- err
		select {
		case <-begun:
		default:
			<-e.starts
		}
	})
	limit := time.NewTimer(quick)
	defer limit.Stop()
	select {
	case <-begun:
	case err := <-pending: // ask takes it
		pending <- err
	case <-limit.C:
	case <-ctx.Done():
	}
	return nil
}

func (e *execution) run(ctx context.Context, begun func()) error {
	code, output, err := e.engine.Exec(ctx, e.container, e.command, begun)
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return errors.New(words(err))
	case err != nil:
		return fmt.Errorf("%w: %w", errLearntNothing, err)
	case code == 0:
		return nil
	}
	text := fmt.Sprintf("%s exited with code %d", e.command[0], code)
	if output = strings.TrimSpace(tellable(output, 200)); output != "" {
		text += ": " + output
	}
	return errors.New(text)
}

// tellable are words, whoever has written them, as they can be recorded and are the same when they are read back: text in UTF-8 without
// control characters, and of about most bytes.
func tellable(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r // what is no UTF-8 comes as the character that stands for that
	}, text)
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// question is how a probe is asked.
func (t *target) question(h *corev1.ProbeHandler) func(ctx context.Context, limit time.Duration) error {
	within := func(f func(context.Context) error) func(context.Context, time.Duration) error {
		return func(ctx context.Context, limit time.Duration) error { return within(ctx, limit, f) }
	}
	switch {
	case h.HTTPGet != nil:
		return within(func(ctx context.Context) error { return t.get(ctx, h.HTTPGet) })
	case h.TCPSocket != nil:
		return within(func(ctx context.Context) error { return t.dial(ctx, h.TCPSocket) })
	case h.Exec != nil && len(h.Exec.Command) > 0:
		return (&execution{target: t, command: h.Exec.Command}).ask
	}
	return func(context.Context, time.Duration) error {
		return errors.New("the probe asks nothing that this agent knows")
	}
}
