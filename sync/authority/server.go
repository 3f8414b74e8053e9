package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// ErrInUse is why a host is not let in whose name another has that lives. That may be the same host, which lost its disk
// and is back before it was missed: then it is let in once it has been.
var ErrInUse = errors.New("who joins needs another name (--node-name)")

// Server answers hosts that want to join, and members that ask whether they are still welcome.
type Server struct {
	Member *Member
	// State is the newest state: it says which join tokens hold.
	State func() *projection.State
	// Admit is the reason not to let in a host of that name, or nil: that it was removed, or that another agent of
	// that name lives (ErrInUse). instance is what the host says to tell its lives apart. It is also called before a host joins.
	Admit func(node, instance string) error
	// Ready is the reason why it cannot be said yet who may join, as before the other members have been heard: who asks
	// is told to ask again. Nil: it can.
	Ready func() error
	// Addresses are those of the members' cluster ports, host:port.
	Addresses func() []string
	// Secrets are what else a host is given that joins, and that no stranger may see: the keys by which the cluster's Secrets are
	// sealed, the one that seals first. Nil: nothing.
	Secrets  func() ([][]byte, error)
	Patience time.Duration // for one connection, from its first byte to its last; zero: 10 s
}

// Serve answers the one request of a connection on which the client's part of the TLS handshake is still to be read,
// and closes it. It returns when that is done, when Patience is over, or when ctx ends. Whoever is refused is told the
// reason as far as they can be, and so is this host's log.
func (s *Server) Serve(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	wait := s.Patience
	if wait == 0 {
		wait = patience
	}
	conn.SetDeadline(time.Now().Add(wait))
	refuse := func(node string, err error) { s.Member.refusals.say(conn.RemoteAddr(), node, err) }

	c := tls.Server(conn, s.config())
	if err := c.HandshakeContext(ctx); err != nil {
		if ctx.Err() == nil {
			refuse("", fmt.Errorf("handshake: %w", err))
		}
		return
	}
	if got := c.ConnectionState().NegotiatedProtocol; got != Protocol {
		refuse("", fmt.Errorf("it does not ask for %s", Protocol))
		return
	}
	var reply answer
	q, err := decodeRequest(c)
	if err == nil {
		reply, err = s.answer(q, c.ConnectionState().PeerCertificates)
	}
	if err != nil {
		refuse(q.Node, err)
		reply = answer{Error: err.Error(), Again: reply.Again, InUse: errors.Is(err, ErrInUse)}
	}
	if err := json.NewEncoder(c).Encode(reply); err != nil {
		s.Member.options.Log.Warn("a host did not take its answer", "remote", conn.RemoteAddr(), "node", q.Node, "error", err)
		return
	}
	c.CloseWrite()
	io.Copy(io.Discard, io.LimitReader(conn, 1<<20)) // closed with bytes unread, the connection could lose the answer
}

// config is that of the accepting end. Who wants to join has no certificate, and one that is not believed is answered
// with the reason, which TLS itself cannot carry: so whatever comes is taken, and judged afterwards.
func (s *Server) config() *tls.Config {
	c := s.Member.bothWays()
	c.NextProtos = []string{Protocol}
	c.ClientAuth = tls.RequestClientCert
	return c
}

func (s *Server) answer(q request, chain []*x509.Certificate) (answer, error) {
	switch q.Op {
	case opJoin:
		if s.Ready != nil {
			if err := s.Ready(); err != nil {
				return answer{Again: true}, err
			}
		}
		return s.join(q)
	case opHello:
		return s.hello(q, chain)
	}
	return answer{}, fmt.Errorf("it asks for %.20q, which this version does not know", q.Op)
}

// hello tells a member whether it is still welcome.
func (s *Server) hello(q request, chain []*x509.Certificate) (answer, error) {
	m := s.Member
	node, err := m.node(chain, m.options.Now())
	if err != nil { // it may be a clock, and this host's
		return answer{Again: true}, err
	}
	if node != q.Node {
		return answer{}, fmt.Errorf("its certificate is for %q", node)
	}
	if err := s.Admit(node, q.Instance); err != nil {
		return answer{}, err
	}
	return answer{Addresses: s.Addresses()}, nil
}

// join makes a member of who presents a token that holds.
func (s *Server) join(q request) (answer, error) {
	m := s.Member
	if q.Authority != m.Digest() {
		return answer{}, m.otherCluster(q.Authority)
	}
	token, err := ParseToken(q.Token)
	if err != nil {
		return answer{}, err
	}
	if err := m.CheckToken(token, s.State(), m.options.Now()); err != nil {
		return answer{}, err
	}
	if err := checkName(q.Node); err != nil {
		return answer{}, fmt.Errorf("the host's name: %w", err)
	}
	if q.Cluster != "" && q.Cluster != m.Cluster() { // an earlier version does not say it, and looks at what it was given
		return answer{}, fmt.Errorf("its --cluster-name is %.70q, and this cluster is called %q: start it with --cluster-name %[2]s", q.Cluster, m.Cluster())
	}
	public, err := checkCSR(q.CSR, q.Node)
	if err != nil {
		return answer{}, err
	}
	if err := s.Admit(q.Node, q.Instance); err != nil {
		return answer{}, err
	}
	cert, err := m.issueNode(q.Node, public, m.options.Now(), lifetime)
	if err != nil {
		return answer{}, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(m.Authority.key)
	if err != nil {
		return answer{}, fmt.Errorf("encode the authority's key: %w", err)
	}
	var secrets [][]byte
	if s.Secrets != nil {
		if secrets, err = s.Secrets(); err != nil {
			return answer{Again: true}, fmt.Errorf("the keys of the cluster's Secrets cannot be read here: %w", err)
		}
	}
	m.options.Log.Info("let a host join the cluster", "node", q.Node, "token", token.ID(), "version", q.Version)
	return answer{Addresses: s.Addresses(), Certificate: cert.Raw, Authority: m.cert.Raw, Key: key, Secrets: secrets}, nil
}

// checkCSR is the key that a host asks a certificate for, once the host has shown that it holds it.
func checkCSR(der []byte, node string) (*ecdsa.PublicKey, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("its certificate request cannot be read: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("its certificate request is not signed by the key that it is for: %w", err)
	}
	public, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P256() {
		return nil, errors.New("its certificate request is for a key that is not ECDSA P-256")
	}
	if csr.Subject.CommonName != node {
		return nil, fmt.Errorf("its certificate request is for %q", csr.Subject.CommonName)
	}
	return public, nil
}

// Removed is why a host that was removed from the cluster is not let in, and how its machine can come back; nil where it was not. It is read on both sides.
func Removed(s *projection.State, node string) error {
	o, ok := s.Lookup(projection.MemberKey(node))
	if !ok {
		return nil
	}
	var member projection.Member
	if err := json.Unmarshal(o.Object, &member); err != nil {
		return fmt.Errorf("whether host %s was removed from the cluster cannot be read: %w", node, err)
	}
	if !member.Removed {
		return nil
	}
	why := ""
	if member.Why != "" {
		why = ": " + member.Why
	}
	return fmt.Errorf("host %s was removed from the cluster%s; to use its machine again, give its agent another --node-name and an empty --data-dir", node, why)
}
