package authority

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	day = 24 * time.Hour

	lifetime    = 90 * day // of a host's certificate, which is renewed when a third of it is left
	defaultWarn = 14 * day
)

// Options of a Member. The zero value means the defaults, but for Node.
type Options struct {
	Node string           // name of this host
	Warn time.Duration    // less than this left of a certificate is warned of; zero: 14 days
	Now  func() time.Time // nil: time.Now
	Log  *slog.Logger     // nil: silent
}

func (o Options) withDefaults() Options {
	if o.Warn == 0 {
		o.Warn = defaultWarn
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Member is this host as a member of the cluster: the authority, and the host's own certificate. Its methods may be
// called from any goroutine.
type Member struct {
	*Authority

	options  Options // with the defaults filled in
	dir      string
	key      *ecdsa.PrivateKey
	renewing sync.Mutex
	current  atomic.Pointer[tls.Certificate] // the node's, with the authority's behind it
	refusals refusals
}

// Create makes a new cluster: an authority, and this host's certificate, in the folder dir, which must be missing or
// empty (otherwise the error is fs.ErrExist and nothing is changed). On nil all of it is durable. A crash leaves the
// folder whole or not at all, and perhaps one beside it (dir.new), which the next Create or Install removes.
func Create(dir, cluster string, o Options) (*Member, error) {
	o = o.withDefaults()
	if err := checkName(o.Node); err != nil {
		return nil, fmt.Errorf("name of this host: %w", err)
	}
	a, err := newAuthority(cluster, o.Now())
	if err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	cert, err := a.issueNode(o.Node, key.Public(), o.Now(), lifetime)
	if err != nil {
		return nil, err
	}
	if err := install(dir, a, key, cert); err != nil {
		return nil, err
	}
	o.Log.Info("made the cluster's authority", "cluster", cluster, "authority", a.Digest(), "folder", dir)
	return newMember(dir, a, key, cert, o), nil
}

// Open reads the folder. Where it is missing or empty the error is fs.ErrNotExist. Damage is refused with an error
// that names the file and says what to do, and is never fs.ErrNotExist; nothing is changed then.
//
// What this host can make again by itself is made again and durable when Open returns: a certificate that is near or
// beyond its end or of another host name, and node.crt or node.key where they are missing. A crash within Open leaves
// a folder that Open takes.
func Open(dir string, o Options) (*Member, error) {
	o = o.withDefaults()
	if err := checkName(o.Node); err != nil {
		return nil, fmt.Errorf("name of this host: %w", err)
	}
	a, err := readAuthority(dir)
	if err != nil {
		return nil, err
	}
	key, cert, err := readNode(dir, a)
	if err != nil {
		return nil, err
	}
	m := newMember(dir, a, key, cert, o)
	if key == nil {
		if err := m.newNodeKey(); err != nil {
			return nil, err
		}
	}
	switch {
	case cert == nil || key == nil:
		o.Log.Warn("the node's certificate or its key is missing; the authority issues a new one", "folder", dir)
	case cert.Subject.CommonName != o.Node:
		o.Log.Info("the host has another name than in its certificate; the authority issues a new one", "was", cert.Subject.CommonName, "is", o.Node)
	case !m.due(cert):
		return m, nil
	}
	return m, m.renew()
}

// readNode reads the node's files: nil for what is missing, and so for the certificate where its key is missing.
func readNode(dir string, a *Authority) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	path := filepath.Join(dir, nodeCert)
	again := "remove " + path + " and " + nodeKey + " beside it, and the next start makes new ones"
	key, err := readKey(dir, nodeKey, again)
	if err != nil {
		return nil, nil, err
	}
	cert, err := readCertificate(dir, nodeCert, again)
	if err != nil || cert == nil || key == nil {
		return key, nil, err
	}
	if err := cert.CheckSignatureFrom(a.cert); err != nil {
		return nil, nil, damage(path, "not issued by the authority beside it: "+err.Error(), again)
	}
	if err := a.isNode(cert); err != nil {
		return nil, nil, damage(path, err.Error(), again)
	}
	if !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, damage(path, "not for the key in "+nodeKey, again)
	}
	return key, cert, nil
}

func newMember(dir string, a *Authority, key *ecdsa.PrivateKey, cert *x509.Certificate, o Options) *Member {
	m := &Member{Authority: a, options: o, dir: dir, key: key}
	m.refusals.log, m.refusals.now = o.Log, o.Now
	if cert != nil {
		m.use(cert)
	}
	return m
}

// Node is the name of this host.
func (m *Member) Node() string { return m.options.Node }

// newNodeKey draws the node's key and makes it durable. A certificate of another key is removed first, so that a
// crash never leaves one that does not fit, which would be damage.
func (m *Member) newNodeKey() (err error) {
	if err := os.Remove(filepath.Join(m.dir, nodeCert)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := syncFolder(m.dir); err != nil {
		return err
	}
	if m.key, err = newKey(); err != nil {
		return err
	}
	b, err := keyPEM(m.key)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(m.dir, nodeKey), b, keyMode)
}

// use has new connections shown the certificate. The authority's goes with it, since who joins knows only its digest.
func (m *Member) use(cert *x509.Certificate) {
	m.current.Store(&tls.Certificate{Certificate: [][]byte{cert.Raw, m.cert.Raw}, PrivateKey: m.key, Leaf: cert})
}

// shown is the certificate that a new connection is shown. A clock may have leapt since Run looked last, as where a machine
// has none while it is off and is told the time after the start: what no longer holds, or does not yet, is not shown.
func (m *Member) shown() *tls.Certificate {
	if err := m.keep(); err != nil {
		m.options.Log.Warn(notOnDisk, "error", err)
	}
	return m.current.Load()
}

const notOnDisk = "the renewed certificate is in use but not on disk; a start makes another"

// keep renews the certificate if it is due.
func (m *Member) keep() error {
	m.renewing.Lock()
	defer m.renewing.Unlock()
	if !m.due(m.current.Load().Leaf) {
		return nil
	}
	return m.renew()
}

// due reports whether a certificate has less than a third of its life left. One that does not hold yet was made when
// the clock was ahead, and others whose clocks are right refuse it.
func (m *Member) due(cert *x509.Certificate) bool {
	now := m.options.Now()
	return now.Before(cert.NotBefore) || !now.Before(m.renewal(cert))
}

func (m *Member) renewal(cert *x509.Certificate) time.Time {
	return cert.NotAfter.Add(-lifetime / 3)
}

// renew issues this host a new certificate for the key it has, and has new connections shown it. It is used even
// where the disk does not take it: the error says so, and the next start issues another.
func (m *Member) renew() error {
	cert, err := m.issueNode(m.options.Node, m.key.Public(), m.options.Now(), lifetime)
	if err != nil {
		return err
	}
	m.use(cert)
	m.options.Log.Info("renewed the node's certificate", "node", m.options.Node, "until", cert.NotAfter)
	return writeFile(filepath.Join(m.dir, nodeCert), certificatePEM(cert.Raw), certMode)
}

// Expires is when the first of the certificates that this host lives by ends: its own, or the authority's.
func (m *Member) Expires() time.Time {
	if own := m.current.Load().Leaf.NotAfter; own.Before(m.cert.NotAfter) {
		return own
	}
	return m.cert.NotAfter
}

// Once renews the node's certificate if a third of its life is left, and warns of what nears its end all the same.
// On an error the old certificate may be what the disk has, and the new one is in use.
func (m *Member) Once(context.Context) error {
	err := m.keep()
	if left := m.Expires().Sub(m.options.Now()); left < m.options.Warn {
		m.options.Log.Warn("a certificate of this host nears its end: without it no other host talks to this one",
			"until", m.Expires(), "left", left.Round(time.Minute))
	}
	return err
}

// Run renews the node's certificate in time, until ctx ends. Connections that there are stay; new ones are shown the
// new certificate. It looks at least once an hour, since timers stand still while a machine sleeps.
func (m *Member) Run(ctx context.Context) error {
	for {
		if err := m.Once(ctx); err != nil {
			m.options.Log.Warn(notOnDisk, "error", err)
		}
		wait := min(max(m.renewal(m.current.Load().Leaf).Sub(m.options.Now()), time.Minute), time.Hour)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}
