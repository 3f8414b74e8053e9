package podman

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// configError is the reason that a container's fact has while what it takes of other objects cannot be had, in Kubernetes' word.
const configError = "CreateContainerConfigError"

// source names an object that a pod takes values of.
type source struct{ kind, name string } // in the pod's namespace

func secretNamed(name string) source { return source{"Secret", name} }

// sources are what the pod's containers take values of.
func sources(spec *corev1.PodSpec) map[source]bool {
	all := map[source]bool{}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, f := range c.EnvFrom {
			if s := f.SecretRef; s != nil {
				all[secretNamed(s.Name)] = true
			}
		}
		for _, e := range c.Env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil {
				all[secretNamed(e.ValueFrom.SecretKeyRef.Name)] = true
			}
		}
	}
	return all
}

// sourcesOf are sources of a placement's template: none of one that cannot be read.
func sourcesOf(placed *projection.Placed) map[source]bool {
	var t corev1.PodTemplateSpec
	if !bytes.Contains(placed.Template, []byte(`Ref":`)) || json.Unmarshal(placed.Template, &t) != nil {
		return nil
	}
	return sources(&t.Spec)
}

// namespaced is a source that is of no pod in particular.
type namespaced struct {
	source
	namespace string
}

// sourceOf is what the key of an event is about, if pods can take values of that.
func sourceOf(key string) (namespaced, bool) {
	typ, namespace, name := manifest.SplitKey(key)
	return namespaced{secretNamed(name), namespace}, typ == "secret"
}

// changed has what waits for those objects tried again.
func (l *loop) changed(all map[namespaced]bool) {
	if len(all) == 0 {
		return
	}
	for pod, first := range l.replicas {
		for s := range first.sources {
			if all[namespaced{s, pod.Namespace}] {
				l.anew(first)
				break
			}
		}
	}
}

// anew has the pod's containers that wait for what they take of other objects tried again at once.
func (l *loop) anew(first *replica) {
	if len(first.sources) == 0 {
		return
	}
	l.dirty[first.Pod] = true
	for _, r := range first.parts() {
		r.again = r.busy
		if r.Recorded != nil && r.Recorded.Reason == configError {
			r.retry.after = time.Time{}
		}
	}
}

// valuesOf are the values of an object in the pod's namespace; nil, if it is not there and need not be. The error is for people, and has
// no value in it.
func (r *Reconciler) valuesOf(namespace string, s source, optional *bool) (map[string][]byte, error) {
	all, err := r.Values(namespace, s.kind, s.name)
	switch {
	case err == nil:
		return all, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s %q: %w", strings.ToLower(s.kind), s.name, err)
	case is(optional):
		return nil, nil
	}
	return nil, fmt.Errorf("%s %q not found", strings.ToLower(s.kind), s.name)
}

// values are valuesOf the pod's namespace.
func (t *turn) values(s source, optional *bool) (map[string][]byte, error) {
	return t.valuesOf(t.Pod.Namespace, s, optional)
}

// environment is the container's: first all that it takes of whole objects, then what is declared by name, where each may refer to those
// before it that are, as in Kubernetes.
func (p *pod) environment() (map[string]string, error) {
	all, declared := map[string]string{}, map[string]string{}
	for _, f := range p.one.EnvFrom {
		if f.SecretRef == nil {
			continue
		}
		s := secretNamed(f.SecretRef.Name)
		values, err := p.values(s, f.SecretRef.Optional)
		if err != nil {
			return nil, err
		}
		for _, key := range slices.Sorted(maps.Keys(values)) {
			if all[f.Prefix+key], err = p.text(s, key, values[key]); err != nil {
				return nil, err
			}
		}
	}
	value := func(name string) (string, bool) {
		v, ok := declared[name]
		return v, ok
	}
	for _, e := range p.one.Env {
		v, ok := expand(e.Value, value), true
		if e.ValueFrom != nil {
			var err error
			if v, ok, err = p.valueFrom(e.ValueFrom); err != nil {
				return nil, err
			}
		}
		if ok {
			all[e.Name], declared[e.Name] = v, v
		}
	}
	return all, nil
}

// valueFrom is what the variable has; false, if it is not there and need not be.
func (p *pod) valueFrom(from *corev1.EnvVarSource) (string, bool, error) {
	switch {
	case from.FieldRef != nil:
		v, err := p.field(from.FieldRef.FieldPath)
		return v, err == nil, err
	case from.SecretKeyRef != nil:
		r := from.SecretKeyRef
		return p.keyOf(secretNamed(r.Name), r.Key, r.Optional)
	}
	return "", false, errors.New("a variable is to have its value from something that this agent does not know")
}

// keyOf is one value of an object.
func (p *pod) keyOf(s source, key string, optional *bool) (string, bool, error) {
	values, err := p.values(s, optional)
	if err != nil {
		return "", false, err
	}
	value, ok := values[key]
	switch {
	case !ok && is(optional):
		return "", false, nil
	case !ok:
		return "", false, fmt.Errorf("couldn't find key %s in %s %s/%s", key, s.kind, p.placed.Pod.Namespace, s.name)
	}
	text, err := p.text(s, key, value)
	return text, err == nil, err
}

// text is a value as a variable can have it.
func (p *pod) text(s source, key string, value []byte) (string, error) {
	if !utf8.Valid(value) || strings.IndexByte(string(value), 0) >= 0 {
		return "", fmt.Errorf("key %s in %s %s/%s is no text, which a variable has to be: mount it as a volume", key, s.kind, p.placed.Pod.Namespace, s.name)
	}
	return string(value), nil
}

// field is what the pod says of itself at a path.
func (p *pod) field(path string) (string, error) {
	name, key, _ := manifest.PodField(path)
	switch name {
	case "metadata.name":
		return p.placed.Pod.Name(), nil
	case "metadata.namespace":
		return p.placed.Pod.Namespace, nil
	case "metadata.uid":
		return projection.PodUID(p.placed.UID, p.placed.Host), nil
	case "metadata.labels":
		if key == "pod-template-hash" { // which the API shows beside those of the template
			return p.placed.SpecHash, nil
		}
		return p.labels[key], nil
	case "metadata.annotations":
		return p.notes[key], nil
	case "spec.nodeName":
		return p.placed.Host, nil
	}
	return "", fmt.Errorf("a variable is to have the pod's %s, which this agent does not know", path)
}
