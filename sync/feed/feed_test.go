package feed

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// said collects what is logged.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(b []byte) (int, error) { s.mu.Lock(); defer s.mu.Unlock(); return s.b.Write(b) }
func (s *said) String() string              { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

func open(t *testing.T, out *said) (*Feed, *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	f := &Feed{Addr: "127.0.0.1:0", Under: "swarm", TLS: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		Log: slog.New(slog.NewTextHandler(out, nil)),
		Admit: func(token string, _ *x509.Certificate) (Subscriber, error) {
			if token != "right" {
				return Subscriber{}, errors.New("no")
			}
			return Subscriber{Name: "token:right", Lapsed: func() bool { return false }}, nil
		}}
	if err := f.Open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, &tls.Config{RootCAs: roots}
}

// Who takes nothing is dropped, and holds up neither who publishes nor the others.
func TestFeed_stalled(t *testing.T) {
	out := &said{}
	f, c := open(t, out)
	stalled := stall(t, f, c)
	reader, err := nats.Connect("tls://"+f.At(), nats.Secure(c), nats.Token("right"), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	s, err := reader.SubscribeSync("swarm.>")
	if err = errors.Join(err, reader.FlushTimeout(time.Minute)); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 256<<10)
	for n := 0; f.server.NumSlowConsumers() == 0; n++ {
		if n > 1000 {
			t.Fatal("who takes nothing is still there")
		}
		if err := errors.Join(f.Publish([]string{"events", fmt.Sprint(n)}, data), f.Flush(t.Context())); err != nil {
			t.Fatal(err)
		}
		if m, err := s.NextMsg(time.Minute); err != nil || m.Subject != fmt.Sprintf("swarm.events.%d", n) || len(m.Data) != len(data) {
			t.Fatalf("message %d: got %v, %v", n, m, err)
		}
	}
	if !strings.Contains(out.String(), "too slow, and was dropped") {
		t.Errorf("said: %s", out)
	}
	_ = stalled.Close()
}

// stall subscribes and then reads no more.
func stall(t *testing.T, f *Feed, c *tls.Config) net.Conn {
	t.Helper()
	raw, err := net.Dial("tcp", f.At())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Close() })
	if err := raw.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	for b[0] != '\n' { // INFO, before TLS
		if _, err := raw.Read(b); err != nil {
			t.Fatal(err)
		}
	}
	c = c.Clone()
	c.ServerName = "127.0.0.1"
	conn := tls.Client(raw, c)
	if _, err := fmt.Fprint(conn, "CONNECT {\"auth_token\":\"right\",\"verbose\":false,\"tls_required\":true}\r\nSUB swarm.> 1\r\nPING\r\n"); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for !bytes.Contains(got, []byte("PONG\r\n")) { // the server has it all
		if _, err := conn.Read(b); err != nil {
			t.Fatalf("%s: %v", got, err)
		}
		got = append(got, b[0])
	}
	return conn
}

func TestFeed_refuses(t *testing.T) {
	f, _ := open(t, &said{})
	twin := &Feed{Addr: f.At(), Under: "swarm", TLS: f.TLS, Admit: f.Admit}
	if err := twin.Open(); err == nil || !strings.Contains(err.Error(), f.At()) {
		t.Errorf("an address that is taken: got %v", err)
	}
	for _, bad := range []*Feed{{Addr: "127.0.0.1:0"}, {Addr: "x", Under: "swarm", TLS: f.TLS, Admit: f.Admit}, {Addr: "127.0.0.1:0", Under: "swarm", Admit: f.Admit}} {
		if err := bad.Open(); err == nil {
			t.Errorf("%+v is opened", bad)
			bad.Close()
		}
	}
	for word, want := range map[string]string{"a-b_C9": "a-b_C9", "": "_", "a.b": "a_b", "*": "_", ">x": "_x", "a b": "a_b"} {
		if got := token(word); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
