package authority

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// UserCertificate is a user's certificate and key, in PEM, as a kubeconfig holds them. The key is on no disk and in no
// log of ours.
type UserCertificate struct {
	Certificate, Key []byte
	Expires          time.Time
}

// IssueUser makes a certificate by which a user is known to the API, for as long as life. It makes nobody a member:
// see User. It cannot be taken back, so life should be short.
func (a *Authority) IssueUser(name string, now time.Time, life time.Duration) (UserCertificate, error) {
	if name == "" || len(name) > 253 {
		return UserCertificate{}, errors.New("issue a user's certificate: want a name of 1 to 253 letters")
	}
	key, err := newKey()
	if err != nil {
		return UserCertificate{}, err
	}
	cert, err := a.issue(x509.Certificate{
		Subject:     subject(userMark, a.cluster, name),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, key.Public(), now, life)
	if err != nil {
		return UserCertificate{}, err
	}
	b, err := keyPEM(key)
	if err != nil {
		return UserCertificate{}, err
	}
	return UserCertificate{certificatePEM(cert.Raw), b, cert.NotAfter}, nil
}

// IssueServer makes a certificate for a listener of the API that users reach by these names and addresses. It cannot
// stand for a node.
func (a *Authority) IssueServer(names []string, ips []net.IP, now time.Time, life time.Duration) (*tls.Certificate, error) {
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := a.issue(x509.Certificate{
		Subject:     subject(apiMark, a.cluster, "API of "+a.cluster),
		DNSNames:    names,
		IPAddresses: ips,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public(), now, life)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw, a.cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// User is the name of the user that a verified connection to a listener of APITLS is from; "" where it shows no
// certificate. A certificate that is not a user's, be it a node's, is an error.
func (a *Authority) User(cs *tls.ConnectionState) (string, error) {
	if len(cs.VerifiedChains) == 0 {
		return "", nil
	}
	leaf := cs.VerifiedChains[0][0]
	if !slices.Equal(leaf.Subject.Organization, []string{userMark}) {
		return "", fmt.Errorf("the certificate is that of a %s, not of a %s", strings.Join(leaf.Subject.Organization, ", "), userMark)
	}
	return leaf.Subject.CommonName, nil
}

// APITLS is for a listener of the API that users reach by these names and addresses. Users may show a certificate of
// this authority, which User then reads; none is asked for. Its own certificate is made in memory, and anew when a third
// of its life is left.
func (m *Member) APITLS(names []string, ips []net.IP) *tls.Config {
	var mu sync.Mutex
	var cert *tls.Certificate
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		Time:       m.options.Now,
		ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs:  m.roots,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			if cert != nil && !m.due(cert.Leaf) {
				return cert, nil
			}
			fresh, err := m.IssueServer(names, ips, m.options.Now(), lifetime)
			if err == nil {
				cert = fresh
			}
			return fresh, err
		},
	}
}
