package api

//lint:file-ignore SA1019 Endpoints are what people write by hand

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// room is a state upon which objects are declared, one after another, and what of it they must fit with.
type room struct {
	*look
	taken *discovery.Taken // nil: nobody has asked for it yet
}

func (s *Server) room(st *projection.State) *room { return &room{look: s.lookAt(st)} }

// free notes what an object gives up that is declared together with others.
func (r *room) free(o object) {
	if svc, ok := o.(*corev1.Service); ok {
		r.addresses().Free(svc)
	}
}

// ask notes what an object asks for that others must not be given which are declared with it.
func (r *room) ask(o object) {
	if svc, ok := o.(*corev1.Service); ok {
		r.addresses().Ask(svc)
	}
}

func (r *room) addresses() *discovery.Taken {
	if r.taken == nil {
		r.taken = r.found().Taken()
	}
	return r.taken
}

// fit is an object as it is to be declared, and what is wrong with it where others are: a Service that asks for what another has, or Endpoints of one that has
// its own. Of a Service, what dress fills in is taken out again, so that what was read can be written back.
func (r *room) fit(o object) (object, field.ErrorList) {
	switch o := o.(type) {
	case *corev1.Service:
		var was *corev1.Service
		if shown, ok := r.Lookup(manifest.Key(o)); ok {
			before, err := manifest.Decode("service", shown.Version.Object)
			if was, ok = before.(*corev1.Service); err != nil || !ok { // of an agent of another version
				was = nil
			}
		}
		return r.addresses().Admit(o, was)
	case *corev1.Endpoints:
		found := r.find(name{cmp.Or(o.Namespace, metav1.NamespaceDefault), o.Name})
		if found == nil || len(found.Spec.Selector) == 0 {
			return o, nil
		}
		return o, field.ErrorList{field.Forbidden(field.NewPath("subsets"), "Service "+found.Name.String()+
			" selects its replicas: take its selector away to say by hand what is behind it")}
	}
	return o, nil
}

// refit is fit for a Service as it once was: what it does not say of its addresses is said for it only where it is made anew.
func (r *room) refit(o object) (object, field.ErrorList) {
	if _, ok := o.(*corev1.Service); !ok {
		return o, nil
	}
	fitted, unfit := r.fit(o)
	if _, there := r.Lookup(manifest.Key(o)); there {
		fitted = o
	}
	return fitted, unfit
}

// leave notes that what an object had, which is changed or ends together with others, is free for those.
func (r *room) leave(key string) {
	if typ, namespace, name := manifest.SplitKey(key); typ == "service" {
		r.addresses().Leave(discovery.Name{Namespace: namespace, Name: name})
	}
}

// clashing says of each Service, by key, that is to be as it once was what it asks for and another has by now, or asks for as well. A restore is not held up
// by it: one of the two gets something else, which the status says.
func (s *Server) clashing(st *projection.State, changes []projection.Change) map[string][]string {
	room, all := s.room(st), map[string][]string{}
	var services []object
	for _, c := range changes {
		typ, _, _ := manifest.SplitKey(c.Key)
		if shown, there := st.Lookup(c.Key); typ != "service" || there && bytes.Equal(shown.Version.Object, c.Object) {
			continue
		}
		room.leave(c.Key)
		if c.Object == nil {
			continue
		}
		if o, err := manifest.Decode(typ, c.Object); err == nil { // one of an agent of another version is restored whole, and not looked into
			manifest.Default(o)
			services = append(services, o)
		}
	}
	for _, o := range services {
		_, unfit := room.refit(o)
		for _, x := range unfit {
			all[manifest.Key(o)] = append(all[manifest.Key(o)], fmt.Sprintf("asks for %s %v: %s. It is restored all the same, and one of the two gets another", x.Field, x.BadValue, x.Detail))
		}
	}
	return all
}

// sameServices reports whether the same is declared of Services in two states.
func sameServices(a, b *projection.State) bool {
	if a == b {
		return true
	}
	same := func(x, y projection.Object) bool { return x.Key == y.Key && x.UID == y.UID && x.Stamp == y.Stamp }
	return slices.EqualFunc(slices.Collect(a.All("service/")), slices.Collect(b.All("service/")), same)
}
