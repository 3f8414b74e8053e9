package authority

import (
	"crypto/tls"
	"net"
)

// TLS is how members talk to each other: TLS 1.3, both ends with a node's certificate of this authority and cluster,
// and only who admit has no error for. It serves either end of a connection, as NATS routes want it; the certificate
// is looked up anew for each connection, so that a renewal needs no reload.
//
// Whoever is turned away is logged with the reason, by address where this end accepted the connection; where this end
// dialled, a certificate of another authority, or beyond its time, is refused by crypto/tls itself, and the reason is
// in the error of the handshake only. The other end learns no more than that it was refused: what for, it asks by
// Member.Hello.
func (m *Member) TLS(admit func(node string) error) *tls.Config {
	own := m.bothWays()
	own.RootCAs = m.roots
	own.ServerName = nodeName
	own.VerifyConnection = m.verify(nil, admit)
	own.ClientAuth = tls.RequireAnyClientCert // the accepting end is configured below; this is should it ever not be
	own.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c := m.bothWays()
		// Any, since verify checks it, and unlike crypto/tls says in the log why not.
		c.ClientAuth = tls.RequireAnyClientCert
		c.VerifyConnection = m.verify(hello.Conn.RemoteAddr(), admit)
		return c, nil
	}
	return own
}

// bothWays is what is common to all connections of members.
func (m *Member) bothWays() *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Time:                   m.options.Now,
		SessionTicketsDisabled: true, // each connection is checked in full
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return m.shown(), nil },
		GetClientCertificate:   func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.shown(), nil },
	}
}

func (m *Member) verify(remote net.Addr, admit func(node string) error) func(tls.ConnectionState) error {
	return func(cs tls.ConnectionState) error {
		node, err := m.node(cs.PeerCertificates, m.options.Now())
		if err == nil {
			err = admit(node)
		}
		if err != nil {
			m.refusals.say(remote, node, err)
		}
		return err
	}
}
