package api

import (
	"fmt"
	"net/http"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/secret"
)

// A Secret is recorded sealed, and within this package an object of that kind is sealed, save between a request and sealed, and in
// what secretShown gives.
//
// Who may change a Secret is shown its values, as kubectl apply needs to see what it would change; who may only read is shown which
// keys it has, and how long each value is.

// secrets shows Secrets open to who may see that.
func secrets(r *resource) {
	declared := r.get
	r.get = func(l *look, n name) (object, bool, error) {
		o, ok, err := declared(l, n)
		if err == nil && ok {
			o = l.secretShown(o)
		}
		return o, ok, err
	}
}

// secretShown is a recorded object as it is answered: of a Secret, open or without its values.
func (l *look) secretShown(o object) object {
	sealed, ok := o.(*corev1.Secret)
	if !ok {
		return o
	}
	if l.reveal == nil || !l.reveal(sealed.Namespace) {
		return secret.Withhold(sealed, "who has scope write in the namespace is shown the values")
	}
	open, err := l.secrets.Open(sealed)
	if err != nil {
		return secret.Withhold(sealed, plain(err.Error(), 300))
	}
	return open
}

// lookAt is a look at a state by whoever asks.
func (q *request) lookAt(st *projection.State) *look {
	l := q.s.lookAt(st)
	l.secrets = q.s.Secrets
	l.reveal = func(namespace string) bool { return q.caller == nil || q.caller.has(ScopeWrite, namespace) }
	return l
}

// sealed is what somebody declares as it is to be recorded: a Secret, checked while it is still open, with its values sealed. Any other
// object is given back as it is.
func (s *Server) sealed(o object) (object, field.ErrorList, error) {
	open, ok := o.(*corev1.Secret)
	if !ok {
		return o, nil, nil
	}
	if s.Secrets == nil {
		return nil, nil, notServed("the kind Secret")
	}
	if wrong := manifest.Validate(open, nil); len(wrong) > 0 {
		return nil, wrong, nil // none of which has a value in it
	}
	sealed, err := s.Secrets.Seal(open)
	if err != nil {
		return nil, nil, refused(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, err.Error())
	}
	return sealed, nil, nil
}

// declaring works out what an object, as somebody wants it, comes to upon a state.
func (s *Server) declaring(q *request, st *projection.State, wanted object) (*declaration, error) {
	o, wrong, err := s.sealed(wanted)
	if err != nil {
		return nil, err
	}
	var d *declaration
	if len(wrong) == 0 {
		fitted, unfit := s.room(st).fit(o)
		d, wrong, err = declare(st, fitted, s.now())
		wrong = append(append(wrong, unfit...), q.unconfined(o)...)
	}
	if err == nil && len(wrong) > 0 {
		err = invalid(wanted, wrong)
	}
	return d, err
}

// patchable refuses to patch a Secret whose values are not known here: those that the patch does not name would be lost.
func (l *look) patchable(there object) error {
	shown, ok := there.(*corev1.Secret)
	if !ok || shown.Annotations[manifest.Withheld] == "" {
		return nil
	}
	return refused(http.StatusConflict, metav1.StatusReasonConflict, fmt.Sprintf("Secret %s/%s cannot be patched here (%s): nothing was changed. Ask a host that has the key, or replace the Secret as a whole (psctl apply, kubectl replace)",
		shown.Namespace, shown.Name, shown.Annotations[manifest.Withheld]))
}

// told puts in place of a Secret's values what may be told of them, in a tree of JSON's values.
func told(o object, tree any) any {
	s, ok := o.(*corev1.Secret)
	m, isObject := tree.(map[string]any)
	if !ok || !isObject {
		return tree
	}
	data, annotations := secret.Tell(s)
	if _, ok := m["data"]; ok {
		m["data"] = anyOf(data)
	}
	if meta, ok := m["metadata"].(map[string]any); ok && meta["annotations"] != nil {
		meta["annotations"] = anyOf(annotations)
	}
	return m
}

func anyOf(texts map[string]string) map[string]any {
	all := map[string]any{}
	for k, v := range texts {
		all[k] = v
	}
	return all
}

// locked is the problem that there are Secrets which this host cannot open.
func (s *Server) locked(st *projection.State) []Problem {
	if s.Secrets == nil {
		return nil
	}
	all := s.Secrets.Locked(st)
	if len(all) == 0 {
		return nil
	}
	what := strings.Join(all[:min(len(all), 5)], ", ")
	if more := len(all) - 5; more > 0 {
		what += fmt.Sprintf(" and %d more", more)
	}
	return []Problem{{What: "Secrets that this host cannot open: " + what,
		Why: "they were sealed by a key that it does not have: they are of another cluster, or of a host that was alone before it joined",
		Do:  "apply them again, from their manifests or as a host that has the key shows them; or put secrets.key of such a host in the place of this one's and start the agent again"}}
}
