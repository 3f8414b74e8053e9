package placement

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
)

// template is what placing replicas needs of a recorded pod template, read once for all that are made from it.
type template struct {
	labels   labels.Set
	spec     corev1.PodSpec
	need     need
	ports    []hostPort
	writable string // path of the first hostPath volume that the container may write to; "": none

	with, without []term // required pod affinity and anti-affinity
	liked         []weighted
	spread        []spread
}

// need is what a replica asks of its host.
type need struct{ cpu, memory int64 } // thousandths of a CPU, bytes

// term chooses replicas by their labels, and says how near is near.
type term struct {
	selector   labels.Selector
	namespaces []string // none: the replica's own
	key        string   // hosts with equal values of this label are one place
}

// weighted is a term that is preferred, or, with a negative weight, preferred not to hold.
type weighted struct {
	term
	weight int
}

// spread is one topologySpreadConstraint.
type spread struct {
	term
	skew     int
	required bool
}

func readTemplate(raw json.RawMessage) (*template, error) {
	var t corev1.PodTemplateSpec
	if err := json.Unmarshal(raw, &t); err != nil {
		return nil, err
	}
	p := &template{labels: t.Labels, spec: t.Spec, ports: hostPorts(&t.Spec), writable: writablePath(&t.Spec)}
	for i := range t.Spec.Containers {
		r := &t.Spec.Containers[i].Resources
		cpu, memory := requested(r, corev1.ResourceCPU), requested(r, corev1.ResourceMemory)
		p.need.cpu += cpu.MilliValue()
		p.need.memory += memory.Value()
	}
	for i := range t.Spec.InitContainers { // one after the other, and before the others
		r := &t.Spec.InitContainers[i].Resources
		cpu, memory := requested(r, corev1.ResourceCPU), requested(r, corev1.ResourceMemory)
		p.need.cpu, p.need.memory = max(p.need.cpu, cpu.MilliValue()), max(p.need.memory, memory.Value())
	}
	if err := p.readAffinity(t.Spec.Affinity); err != nil {
		return nil, err
	}
	for _, c := range t.Spec.TopologySpreadConstraints {
		s, err := metav1.LabelSelectorAsSelector(c.LabelSelector)
		if err != nil {
			return nil, fmt.Errorf("topologySpreadConstraints: %w", err)
		}
		p.spread = append(p.spread, spread{term{s, nil, c.TopologyKey}, int(c.MaxSkew), c.WhenUnsatisfiable == corev1.DoNotSchedule})
	}
	return p, nil
}

// requested is what a container asks for: as in Kubernetes, its limit when it asks for nothing.
func requested(r *corev1.ResourceRequirements, name corev1.ResourceName) (q resource.Quantity) {
	q, ok := r.Requests[name]
	if !ok {
		q = r.Limits[name]
	}
	return q
}

func (p *template) readAffinity(a *corev1.Affinity) error {
	if a == nil {
		return nil
	}
	if pa := a.PodAffinity; pa != nil {
		if err := p.readTerms(&p.with, pa.RequiredDuringSchedulingIgnoredDuringExecution, pa.PreferredDuringSchedulingIgnoredDuringExecution, 1); err != nil {
			return fmt.Errorf("podAffinity: %w", err)
		}
	}
	if pa := a.PodAntiAffinity; pa != nil {
		if err := p.readTerms(&p.without, pa.RequiredDuringSchedulingIgnoredDuringExecution, pa.PreferredDuringSchedulingIgnoredDuringExecution, -1); err != nil {
			return fmt.Errorf("podAntiAffinity: %w", err)
		}
	}
	return nil
}

func (p *template) readTerms(required *[]term, must []corev1.PodAffinityTerm, liked []corev1.WeightedPodAffinityTerm, sign int) error {
	for i := range must {
		t, err := readTerm(&must[i])
		if err != nil {
			return err
		}
		*required = append(*required, t)
	}
	for i := range liked {
		t, err := readTerm(&liked[i].PodAffinityTerm)
		if err != nil {
			return err
		}
		p.liked = append(p.liked, weighted{t, sign * int(liked[i].Weight)})
	}
	return nil
}

func readTerm(t *corev1.PodAffinityTerm) (term, error) {
	s, err := metav1.LabelSelectorAsSelector(t.LabelSelector)
	return term{s, t.Namespaces, t.TopologyKey}, err
}

// writablePath is the path of the first hostPath volume that the container may write to.
func writablePath(spec *corev1.PodSpec) string {
	for i := range spec.Volumes {
		v := &spec.Volumes[i]
		if v.HostPath == nil {
			continue
		}
		for _, c := range slices.Concat(spec.Containers, spec.InitContainers) {
			for _, m := range c.VolumeMounts {
				if m.Name == v.Name && !m.ReadOnly {
					return v.HostPath.Path
				}
			}
		}
	}
	return ""
}

type hostPort struct {
	port     int32
	protocol corev1.Protocol
	ip       string // "" for all of the host's
}

// clashes reports whether not both can be had on one host.
func (a hostPort) clashes(b hostPort) bool {
	return a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || a.ip == "" || b.ip == "")
}

// hostPorts are the ports of its host that a pod asks for; in the host's network every port of it is one.
func hostPorts(spec *corev1.PodSpec) (all []hostPort) {
	for _, c := range spec.Containers {
		for _, p := range c.Ports {
			if spec.HostNetwork {
				p.HostPort = p.ContainerPort
			}
			if p.HostPort != 0 {
				hp := hostPort{p.HostPort, cmp.Or(p.Protocol, corev1.ProtocolTCP), p.HostIP}
				if hp.ip == "0.0.0.0" || hp.ip == "::" {
					hp.ip = ""
				}
				all = append(all, hp)
			}
		}
	}
	return all
}

// exact is a label that whatever the term means must have; false when there is no such one.
func (t *term) exact() (key, value string, ok bool) {
	requirements, _ := t.selector.Requirements()
	for _, r := range requirements {
		switch values := r.ValuesUnsorted(); r.Operator() {
		case selection.Equals, selection.DoubleEquals, selection.In:
			if len(values) == 1 {
				return r.Key(), values[0], true
			}
		}
	}
	return "", "", false
}

// chooses reports whether the term, of a replica in the namespace, means the replicas of the group.
func (t *term) chooses(g *group, namespace string) bool {
	if len(t.namespaces) == 0 && g.namespace != namespace || len(t.namespaces) > 0 && !slices.Contains(t.namespaces, g.namespace) {
		return false
	}
	return t.selector.Matches(g.labels)
}
