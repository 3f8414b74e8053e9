package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/cmd/internal/apitest"
)

// said is what a command that goes on says, line by line.
type said struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// goingOn runs a command until the test ends, and gives its first line.
func goingOn(t *testing.T, args ...string) (line string, errs *said) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	r, w := io.Pipe()
	errs, code := &said{}, make(chan int, 1)
	go func() {
		c := run(ctx, args, strings.NewReader(""), w, errs, func(string) string { return "" })
		w.Close()
		code <- c
	}()
	t.Cleanup(func() {
		stop()
		if got := <-code; got != exitInterrupted {
			t.Errorf("psctl %s ended with %d: %s", strings.Join(args, " "), got, errs)
		}
	})
	out := bufio.NewReader(r)
	line, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("psctl %s: %v: %s", strings.Join(args, " "), err, errs)
	}
	go io.Copy(io.Discard, out) // until the command has ended
	return line, errs
}

func TestPortForward_toAReplica(t *testing.T) {
	replica, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for c, err := replica.Accept(); err == nil; c, err = replica.Accept() {
			b, _ := io.ReadAll(c)
			fmt.Fprintf(c, "heard %s", b)
			c.Close()
		}
	}()
	defer func() { replica.Close(); <-served }()
	// An agent that leads every connection to it.
	agent := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprintf(w, `{"pod":"web-0","host":"h2","port":80,"address":%q}`, replica.Addr())
			return
		}
		if r.URL.Path != "/swarm/v1/forward/shop/service/web/http" || r.Header.Get("Upgrade") != api.ForwardProtocol {
			http.Error(w, r.URL.Path, http.StatusBadRequest)
			return
		}
		there, err := net.Dial("tcp", replica.Addr().String())
		if err != nil {
			t.Error(err)
			return
		}
		here, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(here, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		go func() { io.Copy(there, here); there.(*net.TCPConn).CloseWrite() }()
		io.Copy(here, there)
		here.Close()
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go agent.Serve(l)
	defer agent.Close()
	line, _ := goingOn(t, "--server", l.Addr().String(), "-n", "shop", "port-forward", "svc/web", "0:http")
	m := regexp.MustCompile(`^Forwarding from (127\.0\.0\.1:\d+) -> service/web:http \(now web-0 on h2, port 80\)`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("got %q", line)
	}
	for range 2 {
		c, err := net.Dial("tcp", m[1])
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, "abc")
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(c); string(b) != "heard abc" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
		c.Close()
	}
}

func TestPortForward_saysWhyNot(t *testing.T) {
	a, err := apitest.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"pod/web-0 80", exitNotFound, "not found"},
		{"svc/web", exitUsage, "forward which port"},
		{"ingress/web 80", exitUsage, "want svc/NAME"},
		{"pod/web-0 x:80", exitUsage, "[LOCAL:]PORT"},
		{"pod/web-0 80:", exitUsage, "[LOCAL:]PORT"},
	} {
		var errs said
		got := run(t.Context(), append([]string{"--server", a.URL(), "port-forward"}, strings.Fields(c.args)...), strings.NewReader(""), io.Discard, &errs, func(string) string { return "" })
		if got != c.code || !strings.Contains(errs.String(), c.want) {
			t.Errorf("port-forward %s: got %d %q, want %d %q", c.args, got, &errs, c.code, c.want)
		}
	}
}

func TestProxy_servesTheAPI(t *testing.T) {
	a, err := apitest.Start(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop()
	line, _ := goingOn(t, "--server", a.URL(), "proxy", "--port", "0")
	url := strings.TrimSpace(line[strings.LastIndex(line, "http://"):])
	resp, err := http.Get(url + "/api/v1/namespaces")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || !strings.Contains(string(b), "NamespaceList") || err != nil {
		t.Errorf("got %d %s, %v", resp.StatusCode, b, err)
	}
}

// flaky is a listener that fails first.
type flaky struct {
	net.Listener
	fails int
	conns chan net.Conn
}

func (l *flaky) Accept() (net.Conn, error) {
	if l.fails--; l.fails >= 0 {
		return nil, syscall.EMFILE
	}
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

// Connections that cannot be taken for a while do not end what is forwarded.
func TestForward_takesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		defer there.Close()
		l := &flaky{fails: 3, conns: make(chan net.Conn, 1)}
		l.conns <- here
		ctx, cancel := context.WithCancel(t.Context())
		out := &said{}
		f := &forwarder{program: &program{err: out}, what: "service/web"}
		took := 0
		f.serving.Go(func() { f.take(ctx, l, func(c net.Conn) { took++; c.Close() }) })
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := strings.Repeat("service/web: a connection cannot be taken; trying again: too many open files\n", 3); took != 1 || out.String() != want {
			t.Errorf("%d taken; said\n%swant 1, and\n%s", took, out, want)
		}
		cancel()
		close(l.conns)
		f.serving.Wait()
	})
}
