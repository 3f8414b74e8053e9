package discovery

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// pod is one placed replica and what its host says of it. Immutable.
type pod struct {
	projection.Pod
	placed   *projection.Placed  // without the template; nil: it cannot be read
	template *template           // nil: it cannot be read
	replica  *projection.Replica // nil: its host has not spoken of it
	broken   string              // what cannot be read, and why
}

// host is where it is placed; "" for nowhere.
func (p *pod) host() string {
	if p.placed == nil {
		return ""
	}
	return p.placed.Host
}

// labels are those that selectors are held to.
func (p *pod) labels() map[string]string {
	if p.template == nil {
		return nil
	}
	return p.template.labels
}

// template is what finding a replica needs of a pod template, read once for all that are made from it.
type template struct {
	raw         json.RawMessage
	hash        string
	labels      map[string]string // with the hash
	ports       []corev1.ContainerPort
	hostNetwork bool
	container   string // name of its container
	uses        int    // by pods
}

func readTemplate(raw json.RawMessage, hash string) (*template, error) {
	var t corev1.PodTemplateSpec
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, err
	}
	all := &template{raw: raw, hash: hash, labels: map[string]string{}, hostNetwork: t.Spec.HostNetwork}
	maps.Copy(all.labels, t.Labels)
	all.labels["pod-template-hash"] = hash // as pods are shown with it
	for _, c := range t.Spec.Containers {
		if all.container == "" {
			all.container = c.Name
		}
		for _, p := range c.Ports {
			if p.Protocol == "" {
				p.Protocol = corev1.ProtocolTCP
			}
			all.ports = append(all.ports, p)
		}
	}
	return all, nil
}

// templates are those that something is made of, by hash.
type templates map[string]*template

func (ts templates) of(p *projection.Placement) (*template, error) {
	if t := ts[p.SpecHash]; t != nil && bytes.Equal(t.raw, p.Template) {
		return t, nil
	}
	t, err := readTemplate(p.Template, p.SpecHash)
	if err == nil {
		ts[p.SpecHash] = t
	}
	return t, err
}

// used counts one pod more, or fewer, that is made from the template, which is forgotten with the last.
func (ts templates) used(p *pod, more int) {
	t := p.template
	if t == nil {
		return
	}
	if t.uses += more; t.uses == 0 && ts[t.hash] == t {
		delete(ts, t.hash)
	}
}

// podOf reads a pod; nil when there is none. was is what it was before, or nil.
func (b *book) podOf(st *projection.State, key projection.Pod, was *pod) *pod {
	o, ok := st.Lookup(key.PlacementKey())
	if !ok {
		return nil
	}
	p := &pod{Pod: key}
	if was != nil && was.placed != nil && was.placed.Object.Version == o.Version {
		p.placed, p.template = was.placed, was.template
	} else {
		placed, err := projection.AsPlacement(o)
		if err != nil {
			p.broken = err.Error()
			return p
		}
		if p.template, err = b.templates.of(&placed.Placement); err != nil {
			p.broken = fmt.Sprintf("its template cannot be read: %v", err)
		}
		p.placed = placed
		placed.Template = nil // the memory of it, a thousand times
	}
	var err error
	if p.replica, err = st.Replica(p.placed); err != nil {
		p.broken = err.Error()
	}
	return p
}
