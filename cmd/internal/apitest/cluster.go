package apitest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// The other hosts are made up: they have no log of their own, and what they say is recorded in this one's.

// Join adds a host, which runs what it is given as the first one does.
func (a *Agent) Join(name string) error {
	h := &host{ledger: a.ledger, name: name, mute: a.isSilent}
	if err := h.say(context.Background(), h.self); err != nil {
		return err
	}
	a.mu.Lock()
	a.others = append(a.others, name)
	a.mu.Unlock()
	a.spawn(h.run)
	return nil
}

// Silence has the agent hear all hosts but these.
func (a *Agent) Silence(names ...string) error {
	a.mu.Lock()
	a.silent = names
	a.mu.Unlock()
	s := projection.Sight{Silent: map[string]time.Time{}}
	for _, n := range names {
		s.Silent[n] = time.Now().Add(-time.Minute).UTC().Truncate(time.Second)
	}
	return a.record(projection.Change{Kind: events.Observed, Key: projection.SightKey(Node), Object: projection.Encode(s)})
}

func (a *Agent) isSilent(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Contains(a.silent, name)
}

// Move places a replica of the default namespace on a host, as the decider of a cluster does.
func (a *Agent) Move(pod, host string) error {
	p, ok := projection.PodNamed("default", pod)
	if !ok {
		return fmt.Errorf("no pod %q", pod)
	}
	placed, err := a.ledger.View().Placement(p)
	if err != nil || placed == nil {
		return fmt.Errorf("pod %q is not placed: %w", pod, err)
	}
	placed.Placement.Host, placed.Placement.Why = host, "moved"
	return a.record(projection.Change{Kind: events.Decided, Key: p.PlacementKey(), For: placed.Version.For, Object: projection.Encode(placed.Placement)})
}

// Stay has the agent say of a pod ("default/web-0") why it cannot be moved; "" ends that.
func (a *Agent) Stay(pod, why string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unmoved == nil {
		a.unmoved = map[string]string{}
	}
	if a.unmoved[pod] = why; why == "" {
		delete(a.unmoved, pod)
	}
}

func (a *Agent) record(c projection.Change) error {
	_, err := a.ledger.Record(context.Background(), projection.By{Actor: "test"},
		func(*projection.State) ([]projection.Change, error) { return []projection.Change{c}, nil })
	return err
}

// cluster is what the agent hears of the others: they are three events behind when they are silent, and agree otherwise.
func (a *Agent) cluster() api.Cluster {
	a.mu.Lock()
	defer a.mu.Unlock()
	began := time.Now().Add(-time.Hour)
	c := api.Cluster{Name: "test", Digest: "d", Agrees: began, Unmoved: map[string]string{}}
	for pod, why := range a.unmoved {
		c.Unmoved[pod] = why
	}
	for _, name := range a.others {
		p := api.Peer{Host: name, Alive: true, Heard: time.Now(), Ready: true, Writable: true, Digest: "agrees", Agrees: began,
			Offset: 12 * time.Millisecond, RTT: 700 * time.Microsecond}
		if slices.Contains(a.silent, name) {
			p.Alive, p.Heard, p.Digest, p.Lag, p.Behind = false, began, "unknown", 3, 60
		}
		c.Peers = append(c.Peers, p)
	}
	return c
}

// spread has everybody have everything on disk who is not silent. All are not those that are said to be dead.
func (a *Agent) spread(ctx context.Context, _ events.ID, hosts int) (have, missing []string, err error) {
	a.mu.Lock()
	have = []string{Node}
	for _, name := range a.others {
		if _, said := a.ledger.View().Lookup(projection.NodeKey(name)); slices.Contains(a.silent, name) {
			if !said || hosts != 0 {
				missing = append(missing, name)
			}
		} else {
			have = append(have, name)
		}
	}
	a.mu.Unlock()
	if hosts == 0 && missing != nil || hosts > len(have) {
		<-ctx.Done()
		return have, missing, ctx.Err()
	}
	return have, missing, nil
}

// TLS has the API listen on TLS as well, until the agent stops, and returns where, and who signed its certificate, as PEM.
func (a *Agent) TLS() (url string, ca []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: Node}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	s := a.server(a.log, a.ledger)
	a.spawn(func(ctx context.Context) error {
		return s.ServeTLS(ctx, l, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	})
	return "https://" + l.Addr().String(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// Twin has another host have declared the same object under another name, when the two did not hear each other.
func (a *Agent) Twin(key, name string) error {
	o, ok := a.ledger.View().Lookup(key)
	if !ok {
		return fmt.Errorf("%s: it is not there", key)
	}
	typ, namespace, was := manifest.SplitKey(key)
	object := bytes.Replace(o.Version.Object, []byte(`"name":"`+was+`"`), []byte(`"name":"`+name+`"`), 1)
	_, err := a.ledger.Record(context.Background(), projection.By{Actor: "local psctl (bob)"}, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{{Kind: events.Declared, Key: typ + "/" + namespace + "/" + name, Object: object}}, nil
	})
	return err
}
