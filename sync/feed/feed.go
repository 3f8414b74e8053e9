package feed

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	// MaxMessage is how many bytes of data a message may have: what all clients of NATS accept.
	MaxMessage = 1 << 20

	maxSubscribers = 64
	maxPending     = 4 << 20 // bytes that wait for one of them, before it is dropped
	maxSubs        = 100     // subscriptions of one
	writeDeadline  = 10 * time.Second
	authTimeout    = 5 * time.Second
	startTimeout   = 10 * time.Second
	flushTimeout   = 10 * time.Second
	lookEvery      = time.Second // whether they still may
	publisher      = "publisher"
)

// Subscriber is who may listen.
type Subscriber struct {
	Name   string
	Lapsed func() bool // whether they may no longer
}

// Feed is the server. Its exported fields are its configuration; all but Log are needed.
type Feed struct {
	Addr  string      // HOST:PORT
	Under string      // the token by which all subjects begin
	TLS   *tls.Config // of the server; that of clients is asked for as it says
	// Admit says who somebody is, by the token that they show, or the certificate that TLS has verified; the error is why they may not listen.
	Admit func(token string, cert *x509.Certificate) (Subscriber, error)
	Log   *slog.Logger // nil: silent

	server *server.Server
	client *nats.Conn
	secret string // of the publisher
	log    *natsLog

	mu   sync.Mutex
	here map[uint64]Subscriber // by id of their connection
}

// Open listens. When it returns nil, Publish works.
func (f *Feed) Open() (err error) {
	if f.Log == nil {
		f.Log = slog.New(slog.DiscardHandler)
	}
	if f.TLS == nil || f.Admit == nil || f.Under == "" {
		return errors.New("feed: TLS, who is admitted, and under which subject are needed")
	}
	f.secret, f.here, f.log = rand.Text(), map[uint64]Subscriber{}, &natsLog{out: f.Log}
	o, err := f.options()
	if err != nil {
		return err
	}
	if f.server, err = server.NewServer(o); err != nil {
		return fmt.Errorf("embedded NATS: %w", err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	f.server.SetLoggerV2(f.log, false, false, false)
	f.server.Start()
	for began := time.Now(); !f.server.ReadyForConnections(100 * time.Millisecond); {
		if err := f.log.fatal(); err != nil {
			return fmt.Errorf("listen on %s: %w", f.Addr, err)
		}
		if time.Since(began) > startTimeout {
			return fmt.Errorf("embedded NATS is not ready after %v", startTimeout)
		}
	}
	f.client, err = nats.Connect("", nats.InProcessServer(f.server), nats.UserInfo(publisher, f.secret), nats.MaxReconnects(-1),
		nats.ReconnectWait(100*time.Millisecond), nats.Name("podman-swarm-agent"))
	if err != nil {
		return fmt.Errorf("connect to embedded NATS: %w", err)
	}
	return nil
}

func (f *Feed) options() (*server.Options, error) {
	host, port, err := net.SplitHostPort(f.Addr)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", f.Addr, err)
	}
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return nil, fmt.Errorf("address %q: %w", f.Addr, err)
	}
	if n == 0 {
		n = server.RANDOM_PORT
	}
	c := f.TLS.Clone()
	c.NextProtos = nil
	return &server.Options{ServerName: "podman-swarm-feed", Host: host, Port: n, NoSigs: true, NoLog: true, NoSystemAccount: true, NoSublistCache: true,
		TLS: true, TLSConfig: c, TLSTimeout: authTimeout.Seconds(), AuthTimeout: authTimeout.Seconds(),
		MaxConn: maxSubscribers + 1, MaxSubs: maxSubs, MaxPayload: MaxMessage, MaxPending: maxPending, WriteDeadline: writeDeadline,
		CustomClientAuthentication: admission{f}}, nil
}

// At is where it listens.
func (f *Feed) At() string { return f.server.Addr().String() }

// Publish tells all subscribers; words are the tokens of the subject, which begins with Under. What stands in none becomes _.
func (f *Feed) Publish(words []string, data []byte) error {
	subject := []byte(f.Under)
	for _, word := range words {
		subject = append(append(subject, '.'), token(word)...)
	}
	if err := f.client.Publish(string(subject), data); err != nil {
		return fmt.Errorf("publish %d bytes to %s: %w", len(data), subject, err)
	}
	return nil
}

// Flush returns once the server has all that was published; that it does not for some time is an error.
func (f *Feed) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	return f.client.FlushWithContext(ctx)
}

// token is a word as one token of a subject.
func token(word string) string {
	if word == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r == 0x7f || r == '.' || r == '*' || r == '>' {
			return '_'
		}
		return r
	}, word)
}

// Run ends the connections of those who may no longer listen, until ctx is done; then it returns nil.
func (f *Feed) Run(ctx context.Context) error {
	every := time.NewTicker(lookEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
			f.look()
		}
	}
}

func (f *Feed) look() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, s := range f.here {
		if f.server.GetClient(id) == nil {
			delete(f.here, id)
			continue
		}
		if s.Lapsed() {
			f.Log.Info("who listened may no longer", "who", s.Name)
			_ = f.server.DisconnectClientByID(id) // if it is not there any more, so much the better
			delete(f.here, id)
		}
	}
}

// Close ends it: when it returns, the port is free and nobody is connected. Once more does nothing.
func (f *Feed) Close() {
	if f.client != nil {
		f.client.Close()
	}
	if f.server != nil {
		f.server.Shutdown()
		f.server.WaitForShutdown()
	}
}

// admission is how the server asks who may connect.
type admission struct{ *Feed }

// Check is server.Authentication: it reports whether a client may connect, and says what it may.
func (a admission) Check(c server.ClientAuthentication) bool {
	f, o := a.Feed, c.GetOpts()
	if o.Username == publisher && subtle.ConstantTimeCompare([]byte(o.Password), []byte(f.secret)) == 1 {
		return true
	}
	var cert *x509.Certificate
	state := c.GetTLSConnectionState()
	if state == nil { // never, but of what is in process
		return false
	}
	if len(state.VerifiedChains) > 0 {
		cert = state.VerifiedChains[0][0]
	}
	secret := o.Token
	if secret == "" { // some clients have a name and a password only
		secret = o.Password
	}
	s, err := f.Admit(secret, cert)
	if err != nil {
		f.Log.Info("who wanted to listen was refused", "from", c.RemoteAddress().String(), "err", err)
		return false
	}
	c.RegisterUser(&server.User{Username: s.Name, Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Deny: []string{">"}},
		Subscribe: &server.SubjectPermission{Allow: []string{f.Under, f.Under + ".>"}},
	}})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.here[c.GetID()] = s
	return true
}

// natsLog is what the server logs to: who was too slow, and why it cannot go on, matters.
type natsLog struct {
	out  *slog.Logger
	mu   sync.Mutex
	died error
}

func (l *natsLog) fatal() error { l.mu.Lock(); defer l.mu.Unlock(); return l.died }

// Noticef and its kin are server.Logger.
func (l *natsLog) Noticef(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, "Slow Consumer") && !strings.Contains(text, "Recovered") {
		l.out.Warn("who listened was too slow, and was dropped", "by", "NATS", "why", strconv.Quote(text))
		return
	}
	l.out.Debug("NATS", "says", text)
}

// Fatalf keeps why the server cannot go on.
func (l *natsLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.died = fmt.Errorf(format, v...)
}

// Warnf, Errorf, Debugf and Tracef say what is of no matter here.
func (l *natsLog) Warnf(format string, v ...any) {
	l.out.Debug("NATS", "says", fmt.Sprintf(format, v...))
}
func (l *natsLog) Errorf(format string, v ...any) {
	l.out.Debug("NATS", "says", fmt.Sprintf(format, v...))
}
func (l *natsLog) Debugf(string, ...any) {}
func (l *natsLog) Tracef(string, ...any) {}
