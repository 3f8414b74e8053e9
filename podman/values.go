package podman

import (
	"bytes"
	"context"
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

func secretNamed(name string) source    { return source{"Secret", name} }
func configMapNamed(name string) source { return source{"ConfigMap", name} }

// sources are what the pod's containers take values of.
func sources(spec *corev1.PodSpec) map[source]bool {
	all := map[source]bool{}
	for i := range spec.Volumes {
		if h, ok := holdingOf(&spec.Volumes[i]); ok {
			all[h.source] = true
		}
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, f := range c.EnvFrom {
			if s, _, ok := fromSource(&f); ok {
				all[s] = true
			}
		}
		for _, e := range c.Env {
			if s, _, _, ok := fromKey(e.ValueFrom); ok {
				all[s] = true
			}
		}
	}
	return all
}

// fromSource is what a container has all variables of.
func fromSource(f *corev1.EnvFromSource) (s source, optional *bool, ok bool) {
	switch {
	case f.SecretRef != nil:
		return secretNamed(f.SecretRef.Name), f.SecretRef.Optional, true
	case f.ConfigMapRef != nil:
		return configMapNamed(f.ConfigMapRef.Name), f.ConfigMapRef.Optional, true
	}
	return s, nil, false
}

// fromKey is what a variable is of, if it is of another object.
func fromKey(v *corev1.EnvVarSource) (s source, key string, optional *bool, ok bool) {
	switch {
	case v == nil:
	case v.SecretKeyRef != nil:
		return secretNamed(v.SecretKeyRef.Name), v.SecretKeyRef.Key, v.SecretKeyRef.Optional, true
	case v.ConfigMapKeyRef != nil:
		return configMapNamed(v.ConfigMapKeyRef.Name), v.ConfigMapKeyRef.Key, v.ConfigMapKeyRef.Optional, true
	}
	return s, "", nil, false
}

// sourcesOf are sources of a placement's template: none of one that cannot be read.
func sourcesOf(placed *projection.Placed) map[source]bool {
	var t corev1.PodTemplateSpec
	takes := func(word string) bool { return bytes.Contains(placed.Template, []byte(word)) }
	if !takes(`Ref":`) && !takes(`"secret":`) && !takes(`"configMap":`) || json.Unmarshal(placed.Template, &t) != nil {
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
	switch typ, namespace, name := manifest.SplitKey(key); typ {
	case "secret":
		return namespaced{secretNamed(name), namespace}, true
	case "configmap":
		return namespaced{configMapNamed(name), namespace}, true
	}
	return namespaced{}, false
}

// changed has what waits for those objects tried again.
func (l *loop) changed(ctx context.Context, all map[namespaced]bool) {
	if len(all) == 0 {
		return
	}
	for pod, first := range l.replicas {
		for s := range first.sources {
			if all[namespaced{s, pod.Namespace}] {
				l.anew(ctx, first)
				break
			}
		}
	}
}

// anew has the pod's containers that wait for what they take of other objects tried again at once, and its volumes written anew.
func (l *loop) anew(ctx context.Context, first *replica) {
	if len(first.sources) == 0 {
		return
	}
	if l.stage == Ready { // before that the log may be an old one
		l.refill(ctx, first)
	}
	l.dirty[first.Pod] = true
	for _, r := range first.parts() {
		r.again = r.busy
		if r.Recorded != nil && r.Recorded.Reason == configError {
			r.retry.after = time.Time{}
		}
	}
}

// valuesOf are the values of an object in the pod's namespace, as Values gives them; nil, if it is not there and need not be. The error is for
// people, and has no value in it.
func (r *Reconciler) valuesOf(namespace string, s source, optional *bool) (data, binary map[string][]byte, err error) {
	if r.Values == nil {
		return nil, nil, fmt.Errorf("%s %q: nobody looks it up for this agent", strings.ToLower(s.kind), s.name)
	}
	data, binary, err = r.Values(namespace, s.kind, s.name)
	switch {
	case err == nil:
		return data, binary, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("%s %q: %w", strings.ToLower(s.kind), s.name, err)
	case is(optional):
		return nil, nil, nil
	}
	return nil, nil, fmt.Errorf("%s %q not found", strings.ToLower(s.kind), s.name)
}

// values are valuesOf the pod's namespace.
func (t *turn) values(s source, optional *bool) (data, binary map[string][]byte, err error) {
	return t.valuesOf(t.Pod.Namespace, s, optional)
}

// environment is the container's: first all that it takes of whole objects, then what is declared by name, where each may refer to those
// before it that are, as in Kubernetes.
func (p *pod) environment() (map[string]string, error) {
	all, declared := map[string]string{}, map[string]string{}
	for _, f := range p.one.EnvFrom {
		s, optional, ok := fromSource(&f)
		if !ok {
			return nil, errors.New("variables are to be had from something that this agent does not know")
		}
		values, _, err := p.values(s, optional)
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
	if from.FieldRef != nil {
		v, err := p.field(from.FieldRef.FieldPath)
		return v, err == nil, err
	}
	if s, key, optional, ok := fromKey(from); ok {
		return p.keyOf(s, key, optional)
	}
	return "", false, errors.New("a variable is to have its value from something that this agent does not know")
}

// keyOf is one value of an object.
func (p *pod) keyOf(s source, key string, optional *bool) (string, bool, error) {
	values, _, err := p.values(s, optional)
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
