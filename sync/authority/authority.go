package authority

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// What a certificate is for stands in its subject as the organization, and the cluster as the organizational unit.
// Only nodeMark makes a member of its holder.
const (
	authorityMark = "podman-swarm authority"
	nodeMark      = "podman-swarm node"
	apiMark       = "podman-swarm api"
	userMark      = "podman-swarm user"
)

// nodeName is the one DNS name in every node's certificate: members are told apart by the subject, so that it does
// not matter at which addresses they are.
const nodeName = "node.podman-swarm.internal"

const (
	// authorityLife outlasts every cluster: nothing replaces an authority, so its end would be the cluster's.
	authorityLife = 100 * 365 * 24 * time.Hour
	// slack is how long before its making a certificate holds, for hosts whose clocks are behind.
	slack = 24 * time.Hour
)

// Authority is the root that a cluster's certificates go back to, with its key. Every member holds it, so that no
// host is special. It never changes; it may be used from any goroutine.
type Authority struct {
	cluster string
	cert    *x509.Certificate
	key     *ecdsa.PrivateKey
	roots   *x509.CertPool // cert alone
}

// newAuthority makes the authority of a new cluster.
func newAuthority(cluster string, now time.Time) (*Authority, error) {
	if err := checkName(cluster); err != nil {
		return nil, fmt.Errorf("name of the cluster: %w", err)
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               subject(authorityMark, cluster, "authority of "+cluster),
		NotBefore:             time.Unix(0, 0), // one made by a clock that is ahead would hold nowhere once that is set right
		NotAfter:              now.Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the cluster's authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the cluster's authority: %w", err)
	}
	return authorityOf(cert, key)
}

// authorityOf checks that certificate and key are those of one authority.
func authorityOf(cert *x509.Certificate, key *ecdsa.PrivateKey) (*Authority, error) {
	if !slices.Equal(cert.Subject.Organization, []string{authorityMark}) || len(cert.Subject.OrganizationalUnit) != 1 {
		return nil, errors.New("the certificate is not that of a cluster's authority")
	}
	if err := cert.CheckSignatureFrom(cert); err != nil {
		return nil, fmt.Errorf("the certificate's signature does not fit: %w", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, errors.New("the certificate is of another key")
	}
	roots := x509.NewCertPool()
	roots.AddCert(cert)
	return &Authority{cluster: cert.Subject.OrganizationalUnit[0], cert: cert, key: key, roots: roots}, nil
}

// Cluster is the name of the cluster.
func (a *Authority) Cluster() string { return a.cluster }

// Digest is the SHA-256 of the authority's certificate. Join tokens pin it; it is no secret.
func (a *Authority) Digest() events.Hash { return digest(a.cert) }

// CertificatePEM is the authority's certificate, for who must believe what it issued. It is no secret.
func (a *Authority) CertificatePEM() []byte { return certificatePEM(a.cert.Raw) }

func digest(cert *x509.Certificate) events.Hash { return sha256.Sum256(cert.Raw) }

// issue makes a certificate after a template that says what is special about it.
func (a *Authority) issue(template x509.Certificate, public crypto.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	template.SerialNumber = serial()
	template.NotBefore = now.Add(-slack)
	template.NotAfter = now.Add(life)
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.BasicConstraintsValid = true
	der, err := x509.CreateCertificate(rand.Reader, &template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate for %s: %w", template.Subject.CommonName, err)
	}
	return x509.ParseCertificate(der)
}

// issueNode makes a node's certificate.
func (a *Authority) issueNode(node string, public crypto.PublicKey, now time.Time, life time.Duration) (*x509.Certificate, error) {
	return a.issue(x509.Certificate{
		Subject:     subject(nodeMark, a.cluster, node),
		DNSNames:    []string{nodeName},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, public, now, life)
}

// node is the name of the member that a certificate chain stands for, leaf first, or why it stands for none. The
// name is given with an error as well, where the certificate says one; then it is only what the other end says.
func (a *Authority) node(chain []*x509.Certificate, now time.Time) (string, error) {
	if len(chain) == 0 {
		return "", errors.New("it shows no certificate")
	}
	leaf := chain[0]
	name := leaf.Subject.CommonName
	_, err := leaf.Verify(x509.VerifyOptions{Roots: a.roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return name, a.unverified(leaf, now, err)
	}
	return name, a.isNode(leaf)
}

// unverified says why a certificate is not believed, for people.
func (a *Authority) unverified(leaf *x509.Certificate, now time.Time, err error) error {
	if invalid := (x509.CertificateInvalidError{}); errors.As(err, &invalid) && invalid.Reason == x509.Expired {
		return fmt.Errorf("its certificate holds from %s to %s, and here it is %s: look at the clocks of both hosts",
			leaf.NotBefore.UTC().Format(time.DateTime), leaf.NotAfter.UTC().Format(time.DateTime), now.UTC().Format(time.DateTime))
	}
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		return fmt.Errorf("its certificate is of another authority than that of cluster %q (%.12s)", a.cluster, a.Digest())
	}
	return fmt.Errorf("its certificate is not believed: %w", err)
}

// isNode checks what a certificate of this authority is for.
func (a *Authority) isNode(leaf *x509.Certificate) error {
	if !slices.Equal(leaf.Subject.Organization, []string{nodeMark}) {
		return fmt.Errorf("its certificate is that of a %s, not of a %s", strings.Join(leaf.Subject.Organization, ", "), nodeMark)
	}
	if !slices.Equal(leaf.Subject.OrganizationalUnit, []string{a.cluster}) {
		return fmt.Errorf("its certificate is for cluster %q, and this is cluster %q", strings.Join(leaf.Subject.OrganizationalUnit, ", "), a.cluster)
	}
	if err := checkName(leaf.Subject.CommonName); err != nil {
		return fmt.Errorf("its certificate names no host: %w", err)
	}
	return nil
}

func subject(mark, cluster, name string) pkix.Name {
	return pkix.Name{Organization: []string{mark}, OrganizationalUnit: []string{cluster}, CommonName: name}
}

func newKey() (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("draw a key: %w", err)
	}
	return key, nil
}

// serial draws a serial number: 127 random bits, since members issue without asking each other.
func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

// checkName checks the name of a host or a cluster as far as this package relies on it.
func checkName(name string) error {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	other := func(c rune) bool { return !strings.ContainsRune(letters+".-_", c) }
	switch {
	case name == "":
		return errors.New("there is none")
	case len(name) > 253:
		return fmt.Errorf("%.20q… is longer than 253 letters", name)
	case strings.ContainsFunc(name, other), strings.Trim(name, ".-_") != name:
		return fmt.Errorf("%q: want small letters, digits, dots and dashes, with a letter or digit at both ends", name)
	}
	return nil
}
