package mesh

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// echo is a server in the place of embedded NATS, which says what it hears, and where it is.
func echo(t *testing.T) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr)
}

func fronted(t *testing.T, tls bool, join func(net.Conn)) (*front, *lines) {
	t.Helper()
	text := &lines{}
	f, err := listen("127.0.0.1:0", tls, join, nil, newNATSLog(slog.New(slog.NewTextHandler(text, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	if err != nil {
		t.Fatal(err)
	}
	f.backend.Store(echo(t))
	done := make(chan error, 1)
	go func() { done <- f.serve(context.Background()) }()
	t.Cleanup(func() {
		f.close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return f, text
}

func dial(t *testing.T, f *front) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", f.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// hello is how a TLS connection begins.
func hello(t *testing.T, protocols ...string) []byte {
	t.Helper()
	here, there := net.Pipe()
	defer there.Close()
	go func() {
		defer here.Close()
		_ = tls.Client(here, &tls.Config{ServerName: tlsName, NextProtos: protocols}).Handshake()
	}()
	head := make([]byte, 5)
	if _, err := io.ReadFull(there, head); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, int(head[3])<<8|int(head[4]))
	if _, err := io.ReadFull(there, body); err != nil {
		t.Fatal(err)
	}
	return append(head, body...)
}

// What is not for Join reaches NATS as it was sent, and what NATS says last reaches the other side.
func TestFront_carriesWhatItPeekedAt(t *testing.T) {
	for _, c := range []struct {
		name string
		tls  bool
		sent []byte
	}{
		{"tls", true, hello(t)},
		{"tlsOfAnotherProtocol", true, hello(t, "h2")},
		{"plain", false, []byte("INFO {}\r\n")},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, _ := fronted(t, c.tls, func(net.Conn) { t.Error("went to Join") })
			conn := dial(t, f)
			sent := string(c.sent) + "what comes after it"
			for _, b := range []byte(sent) { // byte by byte
				if _, err := conn.Write([]byte{b}); err != nil {
					t.Fatal(err)
				}
			}
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(conn)
			if err != nil || string(got) != sent {
				t.Errorf("got %d bytes, %v, want the %d that were sent", len(got), err, len(sent))
			}
		})
	}
}

// A mesh gives those who ask for it to Join, who then speaks TLS with them himself, while routes come and go.
func TestMesh_joiners(t *testing.T) {
	a := newAuthority(t)
	secure := a.node(t, "host0")
	joining := secure.Clone()
	joining.ClientAuth, joining.NextProtos = tls.NoClientCert, []string{Protocol}
	join := func(conn net.Conn) {
		c := tls.Server(conn, joining)
		_, _ = fmt.Fprintln(c, "welcome", c.RemoteAddr())
		_, _ = io.Copy(io.Discard, c) // until it goes, or we close
	}
	h := run(t, &Mesh{Node: "host0", TLS: secure, Join: join})
	conn, err := tls.Dial("tcp", h.Advertised(), &tls.Config{RootCAs: a.pool, ServerName: tlsName, NextProtos: []string{Protocol}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line := make([]byte, 100)
	n, err := conn.Read(line)
	if want := fmt.Sprintln("welcome", conn.LocalAddr()); err != nil || string(line[:n]) != want {
		t.Errorf("got %q, %v, want %q", line[:n], err, want)
	}
	friend := run(t, &Mesh{Node: "host1", TLS: a.node(t, "host1"), Peers: []string{h.Advertised()}})
	meshed(t, h, friend)
	h.stop() // ends the joiner, who would stay
	if _, err := io.ReadAll(conn); errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if _, err := tls.Dial("tcp", friend.Advertised(), &tls.Config{RootCAs: a.pool, ServerName: tlsName, NextProtos: []string{Protocol}}); err == nil {
		t.Error("a host without Join let somebody join")
	}
	until(t, "the refusal is counted", func() bool { return friend.Stats().Refused[refusedJoin] == 1 })
}

// Who says nothing, or nonsense, is sent away; and who says nothing on many connections at once keeps nobody else out.
func TestFront_refuses(t *testing.T) {
	f, text := fronted(t, true, nil)
	record := "\x16\x03\x01\x40\x00"
	long := record + "\x01\x00\xff\xff" + strings.Repeat("\x00", 0x4000-4) + record + strings.Repeat("\x00", 0x4000)
	for _, c := range []struct{ sent, want string }{
		{"GET / HTTP/1.1\r\n\r\n", "first record does not look like a TLS handshake"},
		{long, "its TLS hello is longer than"},
		{string(hello(t, Protocol)), "no joining here"},
	} {
		conn := dial(t, f)
		if _, err := io.WriteString(conn, c.sent); err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Errorf("was answered %q", got)
		}
		until(t, c.want, func() bool { return text.has(c.want) })
	}
	for range maxSilentOf {
		dial(t, f)
	}
	until(t, "all are let in", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.quiet == maxSilentOf
	})
	if got, err := io.ReadAll(dial(t, f)); len(got) > 0 {
		t.Errorf("one more was answered %q, %v", got, err)
	}
	if got := f.log.refusals()[refusedCrowd]; got != 1 {
		t.Errorf("%d were refused for the crowd, want 1", got)
	}
	if got := f.log.refusals()[refusedHello]; got != 2 {
		t.Errorf("%d were refused for their hello, want 2", got)
	}
}

func TestPeek_waitsNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name  string
			speak func(conn net.Conn)
		}{
			{"silent", func(net.Conn) {}},
			{"aByteASecond", func(conn net.Conn) {
				for _, b := range hello(t) {
					if _, err := conn.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(time.Second)
				}
			}},
		} {
			here, there := net.Pipe()
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.speak(there)
			}()
			began := time.Now()
			_, _, err := peek(here, helloTimeout)
			if took := time.Since(began); !errors.Is(err, errSilent) || took != helloTimeout {
				t.Errorf("%s: got %v after %v, want %v after %v", c.name, err, took, errSilent, helloTimeout)
			}
			here.Close()
			<-done
			there.Close()
		}
	})
}

func FuzzPeek(f *testing.F) {
	f.Add([]byte("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			_, _ = there.Write(sent)
		}()
		defer here.Close()
		got, joins, err := peek(here, time.Second)
		if err != nil && (joins != "" || got != nil) {
			t.Errorf("got %q, asks for %q with error %v", got, joins, err)
		}
		if !strings.HasPrefix(string(sent), string(got)) {
			t.Errorf("got %q of %q", got, sent)
		}
	})
}
