package ingress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// certificate is one Secret that an Ingress names for TLS, and the newest that could be read of it.
type certificate struct {
	of              *discovery.Ingress
	namespace, name string

	mu      sync.Mutex
	asked   time.Time
	version string
	pair    *tls.Certificate // nil: none could be read yet
	said    string           // what was last logged to be wrong with it
}

// SecretFunc gives the certificate and key, both PEM, of a Secret, and its version, which is another one whenever they are.
type SecretFunc func(namespace, name string) (certPEM, keyPEM []byte, version string, err error)

// current is the certificate as the Secret has it now, nil if it never could be read; age is how old that may be. One that was good once goes on being served while
// what has come after it is not.
func (c *certificate) current(secret SecretFunc, age time.Duration, log *slog.Logger) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked.IsZero() && time.Since(c.asked) < age {
		return c.pair
	}
	c.asked = time.Now()
	if err := c.read(secret); err != nil {
		if c.said != err.Error() {
			c.said = err.Error()
			log.Warn("a Secret cannot be used for TLS", "ingress", c.of.Name.String(), "secret", c.namespace+"/"+c.name, "error", err,
				"served_instead", instead(c.pair != nil))
		}
		return c.pair
	}
	c.said = ""
	return c.pair
}

// takeOver has c begin with what was known of the same Secret: what has been served goes on being, though the Secret be bad by now.
func (c *certificate) takeOver(old *certificate) {
	old.mu.Lock()
	defer old.mu.Unlock()
	c.pair, c.version, c.said = old.pair, old.version, old.said
}

func (c *certificate) read(secret SecretFunc) error {
	certPEM, keyPEM, version, err := secret(c.namespace, c.name)
	if err != nil {
		return err
	}
	if c.pair != nil && version == c.version {
		return nil
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return err
	}
	c.pair, c.version = &pair, version
	return nil
}

// Expires is when the first certificate of a chain ends, that a Secret has; the error says why it cannot be served.
func Expires(certPEM, keyPEM []byte) (first time.Time, err error) {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return first, err
	}
	for _, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return first, err
		}
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first, nil
}

func instead(before bool) string {
	if before {
		return "the one before it"
	}
	return "another, or the default certificate"
}

// certificateFor is what a client that asks for a server name is shown.
func (s *server) certificateFor(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if v := s.view.Load(); v != nil && s.Secret != nil {
		for _, c := range v.routes.candidates(hostOf(hello.ServerName)) {
			if pair := c.current(s.Secret, s.secretAge, s.log); pair != nil {
				return pair, nil
			}
		}
	}
	return s.fallback, nil
}

// defaultCertificate is one that nobody has signed, for host names that no Ingress has a Secret for. It lives as long as the agent.
func defaultCertificate() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the default certificate's key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make the default certificate's number: %w", err)
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{"Podman Swarm"}, CommonName: "Podman Swarm ingress default certificate"},
		DNSNames:     []string{"ingress.invalid"},
		NotBefore:    now.Add(-time.Hour), // clocks differ
		NotAfter:     now.AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make the default certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// tlsConfig is what HTTPS is served with.
func (s *server) tlsConfig() (*tls.Config, error) {
	var err error
	if s.fallback, err = defaultCertificate(); err != nil {
		return nil, errors.Join(errors.New("HTTPS cannot be served"), err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.certificateFor}, nil
}
