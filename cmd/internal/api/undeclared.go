package api

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// warnings say of each Service that was declared, by key, which of its ports lead to none that the Deployments which it selects declare: those of the same declarations, or else of
// the state. It is no mistake, since they may declare it later, and since a replica's own host reaches it all the same.
func warnings(st *projection.State, declared ...*declaration) map[string][]string {
	all := map[string][]string{}
	known := map[string]map[string]*deployed{} // Deployments by namespace and key
	for _, d := range declared {
		s, ok := d.is.(*corev1.Service)
		if !ok || len(s.Spec.Selector) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName {
			continue
		}
		if known[s.Namespace] == nil {
			known[s.Namespace] = deployedIn(st, s.Namespace, declared)
		}
		for _, key := range slices.Sorted(maps.Keys(known[s.Namespace])) {
			if is := known[s.Namespace][key].selectedBy(s.Spec.Selector); is != nil {
				all[d.key] = append(all[d.key], undeclared(s, is)...)
			}
		}
	}
	return all
}

// deployed is a Deployment, which is read only once a Service may select it: a namespace may have thousands.
type deployed struct {
	raw []byte
	is  *appsv1.Deployment
}

// deployedIn are the Deployments of a namespace, by key, as they are once all of that has been declared.
func deployedIn(st *projection.State, namespace string, declared []*declaration) map[string]*deployed {
	all := map[string]*deployed{}
	for o := range st.All(projection.DeploymentKey(namespace, "")) {
		all[o.Key] = &deployed{raw: o.Version.Object}
	}
	for _, d := range declared {
		if is, ok := d.is.(*appsv1.Deployment); ok && is.Namespace == namespace {
			all[d.key] = &deployed{is: is}
		}
	}
	return all
}

// selectedBy is the Deployment if a Service's selector selects its replicas; else nil. One that cannot be read, as of an agent of a later version, is none.
func (d *deployed) selectedBy(selector map[string]string) *appsv1.Deployment {
	if d.is == nil {
		for k, v := range selector { // neither has anything that JSON would write otherwise
			if !bytes.Contains(d.raw, []byte(`"`+k+`":"`+v+`"`)) {
				return nil
			}
		}
		o, err := manifest.Decode("deployment", d.raw)
		is, ok := o.(*appsv1.Deployment)
		if err != nil || !ok {
			return nil
		}
		d.is = is
	}
	if !labels.SelectorFromSet(selector).Matches(labels.Set(d.is.Spec.Template.Labels)) {
		return nil
	}
	return d.is
}

// undeclared are the ports of a Service that lead to none which a Deployment's containers declare.
func undeclared(s *corev1.Service, d *appsv1.Deployment) (all []string) {
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		protocol := cmp.Or(p.Protocol, corev1.ProtocolTCP)
		number, name := cmp.Or(p.TargetPort.IntVal, p.Port), ""
		if p.TargetPort.Type == intstr.String {
			number, name = 0, p.TargetPort.StrVal
		}
		port := cmp.Or(p.Name, strconv.Itoa(int(p.Port)))
		switch {
		case declares(&d.Spec.Template.Spec, number, name, protocol):
		case name != "":
			all = append(all, fmt.Sprintf("port %s leads nowhere in deployment %s: no container there has a %s port that is called %q", port, d.Name, protocol, name))
		case !d.Spec.Template.Spec.HostNetwork:
			all = append(all, fmt.Sprintf("port %s leads to port %d/%s, which no container of deployment %s declares, so that other hosts cannot reach it: add `containerPort: %d`%s there",
				port, number, protocol, d.Name, number, discovery.WithProtocol(protocol)))
		}
	}
	return all
}

// declares reports whether a container has a port of that name, or, with "", of that number.
func declares(t *corev1.PodSpec, number int32, name string, protocol corev1.Protocol) bool {
	for i := range t.Containers {
		for _, p := range t.Containers[i].Ports {
			if cmp.Or(p.Protocol, corev1.ProtocolTCP) == protocol && (name != "" && p.Name == name || name == "" && p.ContainerPort == number) {
				return true
			}
		}
	}
	return false
}

// warn tells the client of a Service that was declared which of its ports lead to none.
func (q *request) warn(st *projection.State, d *declaration) {
	for _, text := range warnings(st, d)[d.key] {
		q.w.Header().Add("Warning", fmt.Sprintf("299 - %q", plain(text, 300)))
	}
}
