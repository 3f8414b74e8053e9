package api

//lint:file-ignore SA1019 Endpoints are written by hand; see events/manifest/endpoints.go

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// What stands where there is nothing, in Kubernetes' words.
const (
	none  = "<none>"
	unset = "<unset>" // in an EndpointSlice
)

// columns are those that Kubernetes has for a kind, under the same names and in the same order: scripts take them apart.
func columns(kind string) []column {
	name := column{name: "Name", cell: func(o object, _ time.Time) any { return o.GetName() }}
	age := column{name: "Age", cell: func(o object, now time.Time) any { return ageOf(o.GetCreationTimestamp(), now) }}
	switch kind {
	case "Deployment":
		return []column{name,
			cell("Ready", func(d *appsv1.Deployment) any { return fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, wantedOf(d)) }),
			cell("Up-to-date", func(d *appsv1.Deployment) any { return d.Status.UpdatedReplicas }).integer(),
			cell("Available", func(d *appsv1.Deployment) any { return d.Status.AvailableReplicas }).integer(),
			age,
			cell("Containers", func(d *appsv1.Deployment) any {
				return each(d.Spec.Template.Spec.Containers, func(c corev1.Container) string { return c.Name })
			}).onlyWide(),
			cell("Images", func(d *appsv1.Deployment) any {
				return each(d.Spec.Template.Spec.Containers, func(c corev1.Container) string { return c.Image })
			}).onlyWide(),
			cell("Selector", func(d *appsv1.Deployment) any { return metav1.FormatLabelSelector(d.Spec.Selector) }).onlyWide()}
	case "Pod":
		return []column{name, cell("Ready", podReady), cell("Status", podWord),
			{name: "Restarts", cell: func(o object, now time.Time) any { return podRestarts(o, now) }}, age,
			cell("IP", func(p *corev1.Pod) any { return cmp.Or(p.Status.PodIP, none) }).onlyWide(),
			cell("Node", func(p *corev1.Pod) any { return cmp.Or(p.Spec.NodeName, none) }).onlyWide(),
			cell("Nominated Node", func(p *corev1.Pod) any { return cmp.Or(p.Status.NominatedNodeName, none) }).onlyWide(),
			cell("Readiness Gates", func(*corev1.Pod) any { return none }).onlyWide()}
	case "Service":
		return []column{name,
			cell("Type", func(s *corev1.Service) any { return string(cmp.Or(s.Spec.Type, corev1.ServiceTypeClusterIP)) }),
			cell("Cluster-IP", func(s *corev1.Service) any { return cmp.Or(s.Spec.ClusterIP, none) }),
			cell("External-IP", externalIP),
			cell("Port(s)", func(s *corev1.Service) any { return cmp.Or(each(s.Spec.Ports, servicePort), none) }),
			age,
			cell("Selector", func(s *corev1.Service) any { return labels.FormatLabels(s.Spec.Selector) }).onlyWide()}
	case "Endpoints":
		return []column{name, cell("Endpoints", func(e *corev1.Endpoints) any { return cmp.Or(some(readyAddresses(e)), none) }), age}
	case "EndpointSlice":
		return []column{name,
			cell("AddressType", func(s *discoveryv1.EndpointSlice) any { return string(s.AddressType) }),
			cell("Ports", func(s *discoveryv1.EndpointSlice) any { return cmp.Or(some(slicePorts(s)), unset) }),
			cell("Endpoints", func(s *discoveryv1.EndpointSlice) any { return cmp.Or(some(sliceAddresses(s)), unset) }),
			age}
	case "Ingress":
		return []column{name,
			cell("Class", func(i *networkingv1.Ingress) any {
				if c := i.Spec.IngressClassName; c != nil {
					return *c
				}
				return none
			}),
			cell("Hosts", func(i *networkingv1.Ingress) any { return cmp.Or(some(ingressHosts(i)), "*") }),
			cell("Address", func(i *networkingv1.Ingress) any {
				return each(i.Status.LoadBalancer.Ingress, func(a networkingv1.IngressLoadBalancerIngress) string { return cmp.Or(a.IP, a.Hostname) })
			}),
			cell("Ports", func(i *networkingv1.Ingress) any {
				if len(i.Spec.TLS) > 0 {
					return "80, 443"
				}
				return "80"
			}), age}
	case "ConfigMap":
		return []column{name, cell("Data", func(m *corev1.ConfigMap) any { return len(m.Data) + len(m.BinaryData) }).integer(), age}
	case "Secret":
		return []column{name, cell("Type", func(s *corev1.Secret) any { return string(cmp.Or(s.Type, corev1.SecretTypeOpaque)) }),
			cell("Data", func(s *corev1.Secret) any { return len(s.Data) }).integer(), age}
	case "Namespace":
		return []column{name, cell("Status", func(n *corev1.Namespace) any { return string(cmp.Or(n.Status.Phase, corev1.NamespaceActive)) }), age}
	case "Node":
		return nodeColumns(name, age)
	case "Event":
		return eventColumns(name)
	}
	return []column{name, age}
}

func nodeColumns(name, age column) []column {
	address := func(typ corev1.NodeAddressType) func(n *corev1.Node) any {
		return func(n *corev1.Node) any {
			if i := slices.IndexFunc(n.Status.Addresses, func(a corev1.NodeAddress) bool { return a.Type == typ }); i >= 0 {
				return n.Status.Addresses[i].Address
			}
			return none
		}
	}
	info := func(name string, of func(*corev1.NodeSystemInfo) string) column {
		return cell(name, func(n *corev1.Node) any { return cmp.Or(of(&n.Status.NodeInfo), "<unknown>") }).onlyWide()
	}
	return []column{name, cell("Status", nodeWord), cell("Roles", func(n *corev1.Node) any { return cmp.Or(strings.Join(nodeRoles(n), ","), none) }), age,
		cell("Version", func(n *corev1.Node) any { return n.Status.NodeInfo.KubeletVersion }),
		cell("Internal-IP", address(corev1.NodeInternalIP)).onlyWide(), cell("External-IP", address(corev1.NodeExternalIP)).onlyWide(),
		info("OS-Image", func(i *corev1.NodeSystemInfo) string { return i.OSImage }),
		info("Kernel-Version", func(i *corev1.NodeSystemInfo) string { return i.KernelVersion }),
		info("Container-Runtime", func(i *corev1.NodeSystemInfo) string { return i.ContainerRuntimeVersion })}
}

func eventColumns(name column) []column {
	seen := func(name string, of func(e *corev1.Event) metav1.Time) column {
		return column{name: name, cell: func(o object, now time.Time) any {
			if e, ok := o.(*corev1.Event); ok {
				return ageOf(of(e), now)
			}
			return none
		}}
	}
	return []column{seen("Last Seen", func(e *corev1.Event) metav1.Time { return e.LastTimestamp }),
		cell("Type", func(e *corev1.Event) any { return e.Type }), cell("Reason", func(e *corev1.Event) any { return e.Reason }),
		cell("Object", func(e *corev1.Event) any { return strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name }),
		cell("Subobject", func(e *corev1.Event) any { return e.InvolvedObject.FieldPath }).onlyWide(),
		cell("Source", func(e *corev1.Event) any {
			if e.Source.Host == "" {
				return e.Source.Component
			}
			return e.Source.Component + ", " + e.Source.Host
		}).onlyWide(),
		cell("Message", func(e *corev1.Event) any { return strings.TrimSpace(e.Message) }),
		seen("First Seen", func(e *corev1.Event) metav1.Time { return e.FirstTimestamp }).onlyWide(),
		cell("Count", func(e *corev1.Event) any { return max(1, e.Count) }).integer().onlyWide(),
		column{name: "Name", cell: name.cell}.onlyWide()}
}

// cell is a column of what is in an object of type T.
func cell[T object](name string, of func(T) any) column {
	return column{name: name, cell: func(o object, _ time.Time) any {
		t, ok := o.(T)
		if !ok {
			return none
		}
		return of(t)
	}}
}

func (c column) integer() column  { c.typ = "integer"; return c }
func (c column) onlyWide() column { c.wide = true; return c }

// each joins what there is to say of each.
func each[T any](all []T, say func(T) string) string {
	var words []string
	for _, x := range all {
		if w := say(x); w != "" {
			words = append(words, w)
		}
	}
	return strings.Join(words, ",")
}

// some are the first three, and how many more there are.
func some(all []string) string {
	if len(all) > 3 {
		return fmt.Sprintf("%s + %d more...", strings.Join(all[:3], ","), len(all)-3)
	}
	return strings.Join(all, ",")
}

func wantedOf(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func podReady(p *corev1.Pod) any {
	ready := 0
	for _, c := range p.Status.ContainerStatuses {
		if c.Ready {
			ready++
		}
	}
	return fmt.Sprintf("%d/%d", ready, len(p.Spec.Containers))
}

// podWord is how a pod is doing, in one word.
func podWord(p *corev1.Pod) any {
	switch {
	case p.DeletionTimestamp != nil:
		return "Terminating"
	case p.Status.Phase == corev1.PodUnknown:
		return string(corev1.PodUnknown)
	}
	if word := initWord(p); word != "" {
		return word
	}
	word := cmp.Or(p.Status.Reason, string(p.Status.Phase), string(corev1.PodUnknown))
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && w.Reason != "" {
			word = w.Reason
		} else if t := c.State.Terminated; t != nil {
			word = cmp.Or(t.Reason, "Exited")
		}
	}
	return word
}

// initWord is how a pod is doing whose init containers have not all done their work, as kubectl has it; "" when they have.
func initWord(p *corev1.Pod) string {
	for i, c := range p.Status.InitContainerStatuses {
		switch t, w := c.State.Terminated, c.State.Waiting; {
		case t != nil && t.ExitCode == 0:
			continue
		case t != nil:
			return "Init:" + cmp.Or(t.Reason, "ExitCode:"+strconv.Itoa(int(t.ExitCode)))
		case w != nil && w.Reason != "" && w.Reason != "PodInitializing":
			return "Init:" + w.Reason
		}
		return fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
	}
	return ""
}

func podRestarts(o object, now time.Time) any {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return none
	}
	n, last := int32(0), metav1.Time{}
	for _, c := range p.Status.ContainerStatuses {
		n += c.RestartCount
		if t := c.LastTerminationState.Terminated; t != nil && t.FinishedAt.After(last.Time) {
			last = t.FinishedAt
		}
	}
	if n == 0 || last.IsZero() {
		return strconv.Itoa(int(n))
	}
	return fmt.Sprintf("%d (%s ago)", n, ageOf(last, now))
}

// externalIP is where a Service is reached from outside. Nobody here gives a LoadBalancer its address, and clients know that as pending.
func externalIP(s *corev1.Service) any {
	switch ips := strings.Join(s.Spec.ExternalIPs, ","); s.Spec.Type {
	case corev1.ServiceTypeExternalName:
		return cmp.Or(s.Spec.ExternalName, none)
	case corev1.ServiceTypeLoadBalancer:
		return cmp.Or(ips, "<pending>")
	default:
		return cmp.Or(ips, none)
	}
}

func servicePort(p corev1.ServicePort) string {
	port := strconv.Itoa(int(p.Port))
	if p.NodePort != 0 {
		port += ":" + strconv.Itoa(int(p.NodePort))
	}
	return port + "/" + string(cmp.Or(p.Protocol, corev1.ProtocolTCP))
}

func readyAddresses(e *corev1.Endpoints) (all []string) {
	for _, s := range e.Subsets {
		if len(s.Ports) == 0 {
			for _, a := range s.Addresses {
				all = append(all, a.IP)
			}
		}
		for _, p := range s.Ports {
			for _, a := range s.Addresses {
				all = append(all, net.JoinHostPort(a.IP, strconv.Itoa(int(p.Port))))
			}
		}
	}
	return all
}

func slicePorts(s *discoveryv1.EndpointSlice) (all []string) {
	for _, p := range s.Ports {
		switch {
		case p.Port != nil:
			all = append(all, strconv.Itoa(int(*p.Port)))
		case p.Name != nil:
			all = append(all, *p.Name)
		default:
			all = append(all, "*")
		}
	}
	return all
}

func sliceAddresses(s *discoveryv1.EndpointSlice) (all []string) {
	for _, e := range s.Endpoints {
		all = append(all, e.Addresses...)
	}
	return all
}

func ingressHosts(i *networkingv1.Ingress) (all []string) {
	for _, r := range i.Spec.Rules {
		if r.Host != "" {
			all = append(all, r.Host)
		}
	}
	return all
}

// nodeRoles are what people call a host by its labels, in order.
func nodeRoles(n *corev1.Node) (all []string) {
	for k, v := range n.Labels {
		if role, ok := strings.CutPrefix(k, "node-role.kubernetes.io/"); ok && role != "" {
			all = append(all, role)
		} else if k == "kubernetes.io/role" && v != "" {
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// nodeWord is how a host is doing, in one word. One that is not heard is NotReady, as in Kubernetes: its condition, and describe, say
// that it is unknown how it is.
func nodeWord(n *corev1.Node) any {
	word := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			word = "NotReady"
			if c.Status == corev1.ConditionTrue {
				word = "Ready"
			}
		}
	}
	if n.Spec.Unschedulable {
		word += ",SchedulingDisabled"
	}
	return word
}
