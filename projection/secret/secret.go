package secret

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
)

// part is one value of a Secret.
type part struct {
	field string // to which it is bound: data/tls.key
	label string // for people: data[tls.key]
	// get is the value, or what stands in its place; set puts one there, sealed or not.
	value  []byte
	sealed bool
	set    func(value []byte, sealed bool)
}

// parts are the values of a Secret: all of data, and what kubectl keeps of them in an annotation.
func parts(s *corev1.Secret) []part {
	var all []part
	for _, k := range slices.Sorted(maps.Keys(s.Data)) {
		p := part{field: "data/" + k, label: "data[" + k + "]", value: s.Data[k]}
		if v, ok := manifest.SealedIn(p.value); ok {
			p.value, p.sealed = v, true
		}
		p.set = func(value []byte, sealed bool) {
			if sealed {
				value = manifest.MarkSealed(value)
			}
			s.Data[k] = value
		}
		all = append(all, p)
	}
	if text, ok := s.Annotations[manifest.LastApplied]; ok {
		p := part{field: "annotation/" + manifest.LastApplied, label: "metadata.annotations[" + manifest.LastApplied + "]", value: []byte(text)}
		if v, ok := manifest.SealedInText(text); ok {
			p.value, p.sealed = v, true
		}
		p.set = func(value []byte, sealed bool) {
			s.Annotations[manifest.LastApplied] = string(value)
			if sealed {
				s.Annotations[manifest.LastApplied] = manifest.MarkSealedText(value)
			}
		}
		all = append(all, p)
	}
	return all
}

// Seal gives a copy of a defaulted Secret with every value sealed, by the same bytes whenever and on whichever host that has the same key
// first. A Secret that has something sealed in it already is refused: it is what another was made of, and cannot be looked into.
func (k *Keys) Seal(s *corev1.Secret) (*corev1.Secret, error) {
	s = s.DeepCopy()
	if len(s.StringData) > 0 {
		return nil, fmt.Errorf("seal Secret %s/%s: its stringData is not in its data", s.Namespace, s.Name)
	}
	all := parts(s)
	if len(all) == 0 {
		return s, nil
	}
	one, err := k.first()
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		if p.sealed {
			return nil, fmt.Errorf("%s of Secret %s/%s is sealed already: declare it with the value itself", p.label, s.Namespace, s.Name)
		}
		p.set(one.seal(place(s.Namespace, s.Name, p.field), p.value), true)
	}
	return s, nil
}

// Open gives a copy of a recorded Secret with every value open, or an error that names what cannot be opened; it wraps ErrNoKey where
// the key is what is missing.
func (k *Keys) Open(s *corev1.Secret) (*corev1.Secret, error) {
	s = s.DeepCopy()
	for _, p := range parts(s) {
		if !p.sealed {
			return nil, fmt.Errorf("%s of Secret %s/%s is not sealed: no agent recorded it so. Apply the Secret again", p.label, s.Namespace, s.Name)
		}
		value, err := k.open(place(s.Namespace, s.Name, p.field), p.value)
		if err != nil {
			return nil, fmt.Errorf("%s of Secret %s/%s cannot be opened: %w", p.label, s.Namespace, s.Name, err)
		}
		p.set(value, false)
	}
	return s, nil
}

// Withhold gives a copy of a recorded Secret that has its keys and none of its values, with an annotation that tells how long each is,
// and why it is not there. It takes no key.
func Withhold(s *corev1.Secret, why string) *corev1.Secret {
	s = s.DeepCopy()
	var sizes []string
	for _, p := range parts(s) {
		if name, ok := strings.CutPrefix(p.field, "data/"); ok {
			sizes = append(sizes, fmt.Sprintf("%s: %d bytes", name, p.size()))
		}
		p.set([]byte{}, false)
	}
	delete(s.Annotations, manifest.LastApplied)
	if s.Annotations == nil {
		s.Annotations = map[string]string{}
	}
	s.Annotations[manifest.Withheld] = strings.TrimPrefix(strings.Join(sizes, ", ")+"; "+why, "; ")
	return s
}

func (p *part) size() int {
	if p.sealed {
		return max(0, len(p.value)-overhead)
	}
	return len(p.value)
}

// Tell gives a copy of a recorded Secret for who compares versions of it: in place of each value stands how long it is, and, since a
// value is always sealed by the same bytes, something by which to see that it is the same, and not what it is.
func Tell(s *corev1.Secret) (data, annotations map[string]string) {
	data, annotations = map[string]string{}, maps.Clone(s.Annotations)
	for _, p := range parts(s) {
		text := fmt.Sprintf("%d bytes, not sealed", p.size())
		if id, err := idOf(p.value); err == nil && p.sealed {
			text = fmt.Sprintf("%d bytes, sealed by key %v as %s", p.size(), id, hex.EncodeToString(p.value[len(id):len(id)+nonceBytes]))
		}
		if name, ok := strings.CutPrefix(p.field, "data/"); ok {
			data[name] = text
		} else {
			annotations[manifest.LastApplied] = text
		}
	}
	return data, annotations
}

// Lacking are the ids of the keys that it takes to open a recorded Secret, and that are not here.
func (k *Keys) Lacking(s *corev1.Secret) []ID {
	var all []ID
	for _, p := range parts(s) {
		if id, err := idOf(p.value); err == nil && p.sealed && !k.Has(id) && !slices.Contains(all, id) {
			all = append(all, id)
		}
	}
	return all
}

// ErrMisfit says that a Secret is there and does not hold what is asked of it.
var ErrMisfit = errors.New("it holds no certificate and key")
