package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// RefusedError is what the other end said why it will not have this host. Other errors of Join and Hello say that
// nobody there could be asked, or that whoever is there is not of this cluster.
type RefusedError struct {
	Addr, Reason string
	Again        bool // in a moment it may be otherwise
	InUse        bool // the name is that of a host that lives, or did until just now: see ErrInUse
}

// ErrStranger is in Hello's error where whoever answers has not shown that it is of this cluster, or not by this host's clock. What it
// says counts for nothing: anybody who has got hold of a member's address could say it.
var ErrStranger = errors.New("who answers there is not of this cluster")

func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s refuses this host: %s", e.Addr, e.Reason)
}

// Request is what a host says of itself.
type Request struct {
	Node     string
	Instance string // what tells this life of the host from others of its name
	Version  string // of the agent
	Cluster  string // to join: what the host takes the cluster to be called; "": it does not say
}

// Joined is what a host was given that joined. Nothing of it is on disk yet.
type Joined struct {
	Addresses []string // of the members' cluster ports
	Secrets   [][]byte // what the member's Server.Secrets gave

	authority *Authority
	key       *ecdsa.PrivateKey
	cert      *x509.Certificate
}

// Cluster is the name of the cluster.
func (j *Joined) Cluster() string { return j.authority.cluster }

// Derive is what Authority.Derive gives the members.
func (j *Joined) Derive(purpose string, n int) ([]byte, error) { return j.authority.Derive(purpose, n) }

// Install puts what was given into the folder dir and opens it, as Create does. A host that crashed before it returned
// joins again.
func (j *Joined) Install(dir string, o Options) (*Member, error) {
	if err := install(dir, j.authority, j.key, j.cert); err != nil {
		return nil, err
	}
	return Open(dir, o)
}

// Join asks the member whose cluster port is at addr to let this host join. The token's secret is said only to an end
// that has shown the authority which the token pins; the host's key is drawn here and never leaves. It tries once, for
// at most 10 s; a *RefusedError says why the member does not want this host.
func Join(ctx context.Context, addr string, t Token, r Request) (*Joined, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: r.Node}}, key)
	if err != nil {
		return nil, fmt.Errorf("ask for a certificate: %w", err)
	}
	q := request{Op: opJoin, Node: r.Node, Instance: r.Instance, Version: r.Version, Cluster: r.Cluster, Authority: t.authority, CSR: csr}
	var stranger error
	reply, err := talk(ctx, addr, nil, func(chain []*x509.Certificate) request {
		if stranger = pinned(chain, t.authority, time.Now()); stranger == nil {
			q.Token = t.Text()
		}
		return q
	})
	if stranger != nil { // it was asked all the same, without the token, so that its log says why as well
		return nil, fmt.Errorf("join by way of %s: %w", addr, stranger)
	}
	if err != nil {
		return nil, fmt.Errorf("join by way of %s: %w", addr, err)
	}
	j, err := accept(reply, t.authority, key, r.Node)
	if err != nil {
		return nil, fmt.Errorf("join by way of %s: what it gave is not good: %w", addr, err)
	}
	return j, nil
}

// pinned checks that a chain is that of a member of the authority with the digest.
func pinned(chain []*x509.Certificate, authority events.Hash, now time.Time) error {
	for _, c := range chain {
		if digest(c) != authority || len(c.Subject.OrganizationalUnit) != 1 {
			continue
		}
		roots := x509.NewCertPool()
		roots.AddCert(c)
		_, err := (&Authority{cluster: c.Subject.OrganizationalUnit[0], cert: c, roots: roots}).node(chain, now)
		return err
	}
	if authority == (events.Hash{}) {
		return errNoToken()
	}
	return fmt.Errorf("it is not of the cluster that the join token is of (authority %.12s): %s", authority, printToken)
}

// accept checks what a member gave, so that nothing is installed that a start would refuse.
func accept(reply answer, authority events.Hash, key *ecdsa.PrivateKey, node string) (*Joined, error) {
	root, err := x509.ParseCertificate(reply.Authority)
	if err != nil {
		return nil, err
	}
	if digest(root) != authority {
		return nil, errors.New("the authority is not the one that the join token is of")
	}
	rootKey, err := parseKey(reply.Key)
	if err != nil {
		return nil, err
	}
	a, err := authorityOf(root, rootKey)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(reply.Certificate)
	if err != nil {
		return nil, err
	}
	switch name, err := a.node([]*x509.Certificate{cert}, time.Now()); {
	case err != nil:
		return nil, err
	case name != node || !key.PublicKey.Equal(cert.PublicKey):
		return nil, errors.New("the certificate is not for this host")
	}
	return &Joined{Addresses: reply.Addresses, Secrets: reply.Secrets, authority: a, key: key, cert: cert}, nil
}

// Hello asks the member whose cluster port is at addr whether this host is still welcome, and gives the addresses of
// the members' cluster ports. A *RefusedError is a member's reason why not, which a TLS handshake cannot say; ErrStranger, that no
// member answers. It tries once, for at most 10 s. r.Node is not used: this host's name is.
func (m *Member) Hello(ctx context.Context, addr string, r Request) ([]string, error) {
	q := request{Op: opHello, Node: m.options.Node, Instance: r.Instance, Version: r.Version, Authority: m.Digest()}
	var stranger error
	reply, err := talk(ctx, addr, m.shown(), func(chain []*x509.Certificate) request {
		_, stranger = m.node(chain, m.options.Now())
		return q
	})
	switch {
	case stranger != nil && err != nil: // its refusal is no member's, and must not be found in the chain
		return nil, fmt.Errorf("say hello to %s: %w: %w; and %v", addr, ErrStranger, stranger, err)
	case stranger != nil:
		return nil, fmt.Errorf("say hello to %s: %w: %w", addr, ErrStranger, stranger)
	case err != nil:
		return nil, fmt.Errorf("say hello to %s: %w", addr, err)
	}
	return reply.Addresses, nil
}

// talk is one request and its answer. The handshake believes any certificate, since what it would say of a bad one
// does not reach the other end: ask is given the chain, judges it, and says no secret to who is not known.
func talk(ctx context.Context, addr string, own *tls.Certificate, ask func([]*x509.Certificate) request) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	reply, err := exchange(ctx, conn, own, ask)
	if ended := ctx.Err(); ended != nil && err != nil { // the closed connection is only how the end was brought about
		return answer{}, fmt.Errorf("no answer in time: %w", ended)
	}
	if err == nil && reply.Error != "" {
		return answer{}, &RefusedError{addr, short(reply.Error), reply.Again, reply.InUse}
	}
	return reply, err
}

func exchange(ctx context.Context, conn net.Conn, own *tls.Certificate, ask func([]*x509.Certificate) request) (answer, error) {
	c := tls.Client(conn, &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{Protocol},
		InsecureSkipVerify: true, // see talk
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if own == nil {
				return new(tls.Certificate), nil
			}
			return own, nil
		},
	})
	if err := c.HandshakeContext(ctx); err != nil {
		return answer{}, fmt.Errorf("handshake: %w", err)
	}
	cs := c.ConnectionState()
	if cs.NegotiatedProtocol != Protocol {
		return answer{}, fmt.Errorf("it does not know %s: it is no agent's cluster port, or of another version", Protocol)
	}
	if err := json.NewEncoder(c).Encode(ask(cs.PeerCertificates)); err != nil {
		return answer{}, err
	}
	return decodeAnswer(c)
}
