package secret

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Type is the type of the key under which a Secret stands in the state: secret/NAMESPACE/NAME.
const Type = "secret"

// Reader opens the Secrets of the newest state. Its methods may be called from any goroutine.
type Reader struct {
	View func() *projection.View // the newest
	Keys *Keys
}

// Secret is the certificate and the key of a Secret, in PEM, and its version, which is another whenever it has been declared anew. The
// error wraps fs.ErrNotExist where there is no such Secret, ErrNoKey where this host cannot open it, and ErrMisfit where it holds no
// certificate and key; it never holds anything of the values.
func (r *Reader) Secret(namespace, name string) (certPEM, keyPEM []byte, version string, err error) {
	s, version, err := r.open(namespace, name)
	if err != nil {
		return nil, nil, version, err
	}
	certPEM, keyPEM = s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]
	if len(certPEM) == 0 || len(keyPEM) == 0 {
		return nil, nil, version, fmt.Errorf("Secret %s/%s, of type %s: %w, at %s and %s", namespace, name, s.Type, ErrMisfit, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
	return certPEM, keyPEM, version, nil
}

// Values are those of a Secret, open. The error wraps fs.ErrNotExist where there is no such Secret, and ErrNoKey where this host cannot open
// it; it never holds anything of the values.
func (r *Reader) Values(namespace, name string) (map[string][]byte, error) {
	s, _, err := r.open(namespace, name)
	if err != nil {
		return nil, err
	}
	return s.Data, nil
}

// open gives a Secret, open, and its version, which is told of one that cannot be opened, too.
func (r *Reader) open(namespace, name string) (s *corev1.Secret, version string, err error) {
	o, ok := r.View().Lookup(Type + "/" + namespace + "/" + name)
	if !ok {
		return nil, "", fmt.Errorf("there is no Secret %s/%s: %w", namespace, name, fs.ErrNotExist)
	}
	if s, err = Read(o); err == nil {
		s, err = r.Keys.Open(s)
	}
	return s, o.Stamp.String(), err
}

// Version is what Secret says of it, without opening it; "" when it is not there. It costs as much as looking a key up.
func (r *Reader) Version(namespace, name string) string {
	o, ok := r.View().Lookup(Type + "/" + namespace + "/" + name)
	if !ok {
		return ""
	}
	return o.Stamp.String()
}

// Next waits until something has been said of Secrets since the state with the index after, and tells of which (NAMESPACE/NAME), and the
// index up to which it has looked. It costs nothing that grows with the number of Secrets. The names are nil where so much has happened
// that all may have changed. The error is ctx's.
func (r *Reader) Next(ctx context.Context, after uint64) (names []string, index uint64, err error) {
	for {
		v := r.View()
		steps, ok := v.Since(after)
		if !ok {
			return nil, v.Index(), nil
		}
		for i := range steps {
			for _, e := range steps[i].Commit.Events {
				if name, ok := strings.CutPrefix(e.Key, Type+"/"); ok {
					names = append(names, name)
				}
			}
		}
		after = v.Index()
		if names != nil {
			return names, after, nil
		}
		select {
		case <-v.Changed:
		case <-ctx.Done():
			return nil, after, ctx.Err()
		}
	}
}

// Read is a Secret as it was recorded.
func Read(o projection.Object) (*corev1.Secret, error) {
	d, err := manifest.Decode(Type, o.Version.Object)
	if err != nil {
		return nil, err
	}
	s, ok := d.(*corev1.Secret)
	if !ok {
		return nil, fmt.Errorf("%s is recorded, and is no Secret", o.Key)
	}
	return s, nil
}

// Locked are the Secrets of a state that this host cannot open, and the keys that it takes, for people: NAMESPACE/NAME (key ID).
func (k *Keys) Locked(st *projection.State) (all []string) {
	for o := range st.All(Type + "/") {
		all = append(all, k.LockedOf(o.Version.Object)...)
	}
	return all
}

// LockedOf is Locked of one Secret as it was recorded, or is to be.
func (k *Keys) LockedOf(object []byte) (all []string) {
	d, err := manifest.Decode(Type, object)
	s, ok := d.(*corev1.Secret)
	if err != nil || !ok {
		return nil
	}
	for _, id := range k.Lacking(s) {
		all = append(all, fmt.Sprintf("%s/%s (key %v)", s.Namespace, s.Name, id))
	}
	return all
}
