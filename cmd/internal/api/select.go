package api

import (
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
)

// selection is which objects of a kind are asked for.
type selection struct {
	namespace, name string // "": all
	labels          labels.Selector
	fields          fields.Selector
}

// listOptions are the options of a list or watch, checked as Kubernetes checks them.
type listOptions struct {
	watch, bookmarks bool
	initial          *bool // sendInitialEvents
	version          string
	match            metav1.ResourceVersionMatch
	timeout          time.Duration // zero: none
}

// parseList reads the query of a list or watch of a kind.
func parseList(q url.Values, r *resource, n name) (selection, listOptions, error) {
	sel := selection{namespace: n.namespace, name: n.name}
	var o listOptions
	var err error
	if sel.labels, err = labels.Parse(q.Get("labelSelector")); err != nil {
		return sel, o, badRequest("labelSelector: %v", err)
	}
	if sel.fields, err = fields.ParseSelector(q.Get("fieldSelector")); err != nil {
		return sel, o, badRequest("fieldSelector: %v", err)
	}
	known := fieldsOf(r, nil)
	for _, f := range sel.fields.Requirements() {
		if _, ok := known[f.Field]; !ok {
			return sel, o, badRequest("field label not supported: %s", f.Field)
		}
	}
	if exact, ok := sel.fields.RequiresExactMatch("metadata.name"); ok && sel.name == "" {
		sel.name = exact
	}
	if exact, ok := sel.fields.RequiresExactMatch("metadata.namespace"); ok && sel.namespace == "" && r.namespaced {
		sel.namespace = exact
	}
	o.watch, o.bookmarks = truth(q.Get("watch")), truth(q.Get("allowWatchBookmarks"))
	if text := q.Get("sendInitialEvents"); text != "" {
		initial := truth(text)
		o.initial = &initial
	}
	o.version, o.match = q.Get("resourceVersion"), metav1.ResourceVersionMatch(q.Get("resourceVersionMatch"))
	if text := q.Get("timeoutSeconds"); text != "" {
		seconds, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return sel, o, badRequest("timeoutSeconds %q: want a number of seconds", text)
		}
		o.timeout = time.Duration(seconds) * time.Second
	}
	if q.Get("continue") != "" {
		return sel, o, badRequest("continue: lists are given whole, so there is nothing to continue")
	}
	wrong := validation.ValidateListOptions(&internalversion.ListOptions{Watch: o.watch, ResourceVersion: o.version,
		ResourceVersionMatch: o.match, SendInitialEvents: o.initial}, true)
	if len(wrong) > 0 {
		return sel, o, invalidOptions("ListOptions", wrong)
	}
	return sel, o, nil
}

// truth reads a boolean of a query as Kubernetes does: what is there and not false is true.
func truth(text string) bool {
	return text != "" && text != "false" && text != "0"
}

// flag reads a parameter that lets something happen which is refused without it: so what is neither true nor false is a mistake.
func (q *request) flag(name string) (bool, error) {
	text := q.URL.Query().Get(name)
	if text == "" {
		return false, nil
	}
	yes, err := strconv.ParseBool(text)
	if err != nil {
		return false, badRequest("%s %q: want true or false", name, text)
	}
	return yes, nil
}

// has reports whether the object is selected.
func (sel *selection) has(r *resource, o object) bool {
	return o != nil && sel.named(name{o.GetNamespace(), o.GetName()}) &&
		sel.labels.Matches(labels.Set(o.GetLabels())) &&
		(sel.fields.Empty() || sel.fields.Matches(fieldsOf(r, o)))
}

// named reports whether an object of that name could be selected.
func (sel *selection) named(n name) bool {
	return (sel.namespace == "" || n.namespace == sel.namespace) && (sel.name == "" || n.name == sel.name)
}

// fieldsOf are the fields of an object that can be selected by; of a nil object, their names.
func fieldsOf(r *resource, o object) fields.Set {
	set := fields.Set{"metadata.name": ""}
	if r.namespaced {
		set["metadata.namespace"] = ""
	}
	if o != nil {
		set["metadata.name"] = o.GetName()
		set["metadata.namespace"] = o.GetNamespace()
	}
	switch r.kind {
	case "Pod":
		p, _ := o.(*corev1.Pod)
		if p == nil {
			p = &corev1.Pod{}
		}
		set["spec.nodeName"], set["spec.restartPolicy"] = p.Spec.NodeName, string(p.Spec.RestartPolicy)
		set["spec.schedulerName"], set["spec.serviceAccountName"] = p.Spec.SchedulerName, p.Spec.ServiceAccountName
		set["status.phase"], set["status.podIP"] = string(p.Status.Phase), p.Status.PodIP
	case "Event":
		e, _ := o.(*corev1.Event)
		if e == nil {
			e = &corev1.Event{}
		}
		set["reason"], set["type"], set["source"] = e.Reason, e.Type, e.Source.Component
		about := e.InvolvedObject
		set["involvedObject.kind"], set["involvedObject.namespace"] = about.Kind, about.Namespace
		set["involvedObject.name"], set["involvedObject.uid"] = about.Name, string(about.UID)
		set["involvedObject.apiVersion"], set["involvedObject.resourceVersion"] = about.APIVersion, about.ResourceVersion
		set["involvedObject.fieldPath"] = about.FieldPath
	case "Secret":
		s, _ := o.(*corev1.Secret)
		if s == nil {
			s = &corev1.Secret{}
		}
		set["type"] = string(s.Type)
	case "Namespace":
		set["status.phase"] = string(corev1.NamespaceActive)
	}
	return set
}
