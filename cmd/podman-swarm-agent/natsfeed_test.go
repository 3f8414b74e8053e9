package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
)

// listening is an agent whose events are published by NATS.
type listening struct {
	*running
	t          *testing.T
	dir, at    string
	violations chan error
}

// newToken makes a token and gives its secret.
func (l *listening) newToken(name, more string) string {
	l.t.Helper()
	var made api.NewToken
	body := fmt.Sprintf(`{"name":%q,"scope":"read"%s}`, name, more)
	if err := json.Unmarshal([]byte(l.ask(l.t, "POST", "/swarm/v1/tokens", body, 201)), &made); err != nil {
		l.t.Fatal(err)
	}
	return made.Secret
}

// dial connects a client of NATS.
func (l *listening) dial(options ...nats.Option) (*nats.Conn, error) {
	return nats.Connect("tls://"+l.at, append([]nats.Option{nats.RootCAs(filepath.Join(l.dir, "authority", "authority.crt")), nats.NoReconnect(), nats.Timeout(time.Minute),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.violations <- err })}, options...)...)
}

func (l *listening) connect(options ...nats.Option) *nats.Conn {
	l.t.Helper()
	c, err := l.dial(options...)
	if err != nil {
		l.t.Fatalf("%v\n%s", err, &l.said)
	}
	l.t.Cleanup(c.Close)
	return c
}

func (l *listening) subscribe(c *nats.Conn, subject string) *nats.Subscription {
	l.t.Helper()
	s, err := c.SubscribeSync(subject)
	if err = errors.Join(err, c.FlushTimeout(time.Minute)); err != nil {
		l.t.Fatal(err)
	}
	return s
}

// Who subscribes by NATS is told what the API tells, as CloudEvents that the SDK reads; and may do nothing else.
func TestNATS_subscribe(t *testing.T) {
	l := &listening{t: t, dir: t.TempDir(), at: freePort(t), violations: make(chan error, 100)}
	l.running = start(t, l.dir, "--nats-addr="+l.at)
	secret, narrow := l.newToken("r", ""), l.newToken("narrow", `,"namespaces":["shop"]`)

	for what, options := range map[string][]nats.Option{"nothing": nil, "a token that there is not": {nats.Token("pst_x")}, "a token of one namespace": {nats.Token(narrow)},
		"the name of the publisher": {nats.UserInfo("publisher", "")}} {
		if _, err := l.dial(options...); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("with %s: got %v, want it to be refused", what, err)
		}
	}
	if _, err := nats.Connect("nats://"+l.at, nats.Token(secret), nats.NoReconnect()); err == nil {
		t.Error("the certificate of the server need not be known")
	}

	c := l.connect(nats.Token(secret))
	all, one := l.subscribe(c, "swarm.>"), l.subscribe(c, "swarm.events.declared.service.default.b")
	authority, err := openAuthority(filepath.Join(l.dir, "authority"))
	if err != nil {
		t.Fatal(err)
	}
	issued, err := authority.IssueUser("alice", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(issued.Certificate, issued.Key)
	if err != nil {
		t.Fatal(err)
	}
	alice := l.subscribe(l.connect(func(o *nats.Options) error { o.TLSConfig.Certificates = []tls.Certificate{pair}; return nil }), "swarm.events.>")

	for _, forbidden := range []string{">", "$SYS.>", "_INBOX.>", "swarmx", "*.events.>"} {
		l.subscribe(c, forbidden)
		l.violated(forbidden)
	}
	if err := errors.Join(c.Publish("swarm.events.declared.x", []byte("{}")), c.FlushTimeout(time.Minute)); err != nil {
		t.Fatal(err)
	}
	l.violated("publish")

	for _, name := range []string{"a", "b", "d"} {
		l.ask(t, "POST", "/api/v1/manifests", strings.Replace(service, "name: web", "name: "+name, 1), 200)
	}
	want := map[string]string{} // by id, what the API tells
	for line := range strings.Lines(l.ask(t, "GET", "/swarm/v1/events?format=cloudevents&kind=declared", "", 200)) {
		e := event.New()
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		want[e.ID()] = strings.TrimSpace(line)
	}
	for _, s := range []*nats.Subscription{all, alice} {
		for got := 0; got < 3; {
			m, err := s.NextMsg(time.Minute)
			if err != nil {
				t.Fatalf("%s: %v\n%s", s.Subject, err, &l.said)
			}
			e := event.New()
			if err := json.Unmarshal(m.Data, &e); err != nil || e.Validate() != nil {
				t.Fatalf("%s: %v, %v", m.Data, err, e.Validate())
			}
			if e.Type() != "com.github.podman-swarm.declared" {
				continue
			}
			got++
			if string(m.Data) != want[e.ID()] || !strings.HasPrefix(m.Subject, "swarm.events.declared.service.default.") || e.Subject() == "" || e.Extensions()["position"] == "" {
				t.Errorf("got %s on %s, want %s", m.Data, m.Subject, want[e.ID()])
			}
		}
	}
	if m, err := one.NextMsg(time.Minute); err != nil || !strings.Contains(string(m.Data), `"service/default/b"`) {
		t.Errorf("got %v, %v", m, err)
	}

	gone := make(chan struct{})
	c.SetClosedHandler(func(*nats.Conn) { close(gone) })
	l.ask(t, "DELETE", "/swarm/v1/tokens/r", "", 200)
	select {
	case <-gone:
	case <-time.After(time.Minute):
		t.Error("who has a token that was revoked still listens")
	}
	if strings.Contains(l.said.String(), secret) || strings.Contains(l.said.String(), narrow) {
		t.Error("the agent says a secret")
	}
	l.end(t)
}

// violated waits for the server's word that something may not be done.
func (l *listening) violated(what string) {
	l.t.Helper()
	select {
	case err := <-l.violations:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			l.t.Errorf("%s: got %v", what, err)
		}
	case <-time.After(time.Minute):
		l.t.Errorf("%s is allowed", what)
	}
}
