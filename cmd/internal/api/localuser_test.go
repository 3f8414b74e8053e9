package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// accepted gives what a listener accepts next, from whoever connects meanwhile.
func accepted(t *testing.T, l net.Listener, connect func() error) net.Conn {
	t.Helper()
	failed := make(chan error, 1)
	go func() { failed <- connect() }()
	c, err := l.Accept()
	if err := errors.Join(err, <-failed); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Whose a connection is, is what the kernel says of the socket at its other end, by any form of the loopback's address.
func TestLocalUser(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	var closers []func()
	defer func() {
		for _, f := range closers {
			f()
		}
	}()
	dial := func(addr string) func() error {
		return func() error {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				closers = append(closers, func() { c.Close() })
			}
			return err
		}
	}
	listen := func(addr string) net.Listener {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	four, six := listen("127.0.0.1:0"), listen("[::1]:0")
	port := four.Addr().(*net.TCPAddr).Port
	mapped := func() error { // as clients do that have sockets of IPv6 alone
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
		if err != nil {
			return err
		}
		closers = append(closers, func() { unix.Close(fd) })
		return unix.Connect(fd, &unix.SockaddrInet6{Port: port, Addr: [16]byte(net.ParseIP("127.0.0.1").To16())})
	}
	for what, c := range map[string]struct {
		l       net.Listener
		connect func() error
	}{"IPv4": {four, dial(four.Addr().String())}, "IPv6": {six, dial(six.Addr().String())}, "IPv4 by a socket of IPv6": {four, mapped}} {
		conn := accepted(t, c.l, c.connect)
		if got := localUser(conn.RemoteAddr(), conn.LocalAddr()); got != me.Username {
			t.Errorf("%s: %q, want %q", what, got, me.Username)
		}
		if got := localUser(conn.RemoteAddr(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}); got != "" {
			t.Errorf("%s: where there is no such socket: %q", what, got)
		}
	}
	if got := localUser(four.Addr(), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + 1}); got != "" {
		t.Errorf("a socket that listens is taken for one that is connected: %q", got)
	}
	if os.Getuid() != 0 { // who is not root cannot be somebody else
		return
	}
	for uid, want := range map[uint32]string{65534: "nobody", 54321: "uid=54321"} {
		in, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%d; read -r _", port))
		cmd.Stdin, cmd.Dir = in, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		conn := accepted(t, four, cmd.Start)
		if got := localUser(conn.RemoteAddr(), conn.LocalAddr()); got != want {
			t.Errorf("user %d is %q, want %q", uid, got, want)
		}
		in.Close()
		out.Close()
		_ = cmd.Wait() // it had no line to read
	}
}

// What is changed over the loopback stands in the log with the user whose connection it was, whatever the client calls itself.
func TestLocalUser_isTheActor(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	a := start(t, t.TempDir())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- a.Server.Serve(ctx, l) }()
	req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+l.Addr().String()+apply, strings.NewReader(deployment("a", 1, "w")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/yaml")
	req.Header.Set("User-Agent", "psctl/1 (somebody)")
	client := &http.Client{Transport: &http.Transport{}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	client.CloseIdleConnections()
	cancel()
	if err := <-served; err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	steps, _ := a.ledger.View().Since(0)
	if got, want := steps[0].Commit.Actor, "local:"+me.Username+" psctl/1 (somebody)"; got != want {
		t.Errorf("the actor is %q, want %q", got, want)
	}
}
