package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
)

func age(t time.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(max(0, now.Sub(t)))
}

func deploymentRow(d *appsv1.Deployment, now time.Time) row {
	var images []string
	for _, c := range d.Spec.Template.Spec.Containers {
		images = append(images, c.Image)
	}
	return row{
		[]string{d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, wanted(d)), strconv.Itoa(int(d.Status.UpdatedReplicas)),
			strconv.Itoa(int(d.Status.AvailableReplicas)), age(d.CreationTimestamp.Time, now)},
		[]string{strings.Join(images, ","), metav1.FormatLabelSelector(d.Spec.Selector)},
	}
}

// wanted is how many replicas a Deployment asks for.
func wanted(d *appsv1.Deployment) int32 {
	if d.Spec.Replicas == nil {
		return 1
	}
	return *d.Spec.Replicas
}

func serviceRow(s *corev1.Service, now time.Time) row {
	var ports []string
	for _, p := range s.Spec.Ports {
		port := strconv.Itoa(int(p.Port))
		if p.NodePort != 0 {
			port += ":" + strconv.Itoa(int(p.NodePort))
		}
		ports = append(ports, port+"/"+protocol(p.Protocol))
	}
	return row{
		[]string{s.Name, cmp.Or(string(s.Spec.Type), "ClusterIP"), cmp.Or(s.Spec.ClusterIP, "<none>"), strings.Join(ports, ","),
			s.Annotations[foundNote], age(s.CreationTimestamp.Time, now)},
		[]string{labelText(s.Spec.Selector)},
	}
}

func protocol(p corev1.Protocol) string { return strings.ToLower(cmp.Or(string(p), "TCP")) }

func labelText(m map[string]string) string {
	if len(m) == 0 {
		return "<none>"
	}
	var pairs []string
	for k, v := range m {
		pairs = append(pairs, k+"="+v)
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ",")
}

func ingressRow(i *networkingv1.Ingress, now time.Time) row {
	var hosts, paths []string
	for _, r := range i.Spec.Rules {
		hosts = append(hosts, cmp.Or(r.Host, "*"))
		if r.HTTP == nil {
			continue
		}
		for _, p := range r.HTTP.Paths {
			paths = append(paths, cmp.Or(r.Host, "*")+cmp.Or(p.Path, "/")+" -> "+backend(&p.Backend))
		}
	}
	if b := i.Spec.DefaultBackend; b != nil {
		hosts = append(hosts, "*")
		paths = append(paths, "* -> "+backend(b))
	}
	class := "<none>"
	if c := i.Spec.IngressClassName; c != nil {
		class = *c
	}
	return row{
		[]string{i.Name, class, strings.Join(slices.Compact(hosts), ","), i.Annotations[foundNote], age(i.CreationTimestamp.Time, now)},
		[]string{strings.Join(paths, ", ")},
	}
}

func backend(b *networkingv1.IngressBackend) string {
	if b.Service == nil {
		return "<none>"
	}
	return b.Service.Name + ":" + cmp.Or(b.Service.Port.Name, strconv.Itoa(int(b.Service.Port.Number)))
}

func namespaceRow(n *corev1.Namespace, now time.Time) row {
	return row{cells: []string{n.Name, cmp.Or(string(n.Status.Phase), "Active"), age(n.CreationTimestamp.Time, now)}}
}

func nodeRow(n *corev1.Node, now time.Time) row {
	status := "Unknown"
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			status = "NotReady" // also where it is unknown, as kubectl has it; describe tells the two apart
			if c.Status == corev1.ConditionTrue {
				status = "Ready"
			}
		}
	}
	if n.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	var addresses []string
	for _, a := range n.Status.Addresses {
		if a.Type != corev1.NodeHostName {
			addresses = append(addresses, a.Address)
		}
	}
	i := n.Status.NodeInfo
	return row{
		[]string{n.Name, status, strings.Join(slices.Compact(addresses), ","), i.KubeletVersion, age(n.CreationTimestamp.Time, now)},
		[]string{i.ContainerRuntimeVersion, i.OSImage, i.KernelVersion, n.Status.Capacity.Cpu().String(), bytesText(n.Status.Capacity.Memory().Value())},
	}
}

// bytesText is a number of bytes for people.
func bytesText(n int64) string {
	const units = "KMGTP"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v, i := float64(n)/1024, 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	return fmt.Sprintf("%.3g %ciB", v, units[i])
}

func eventRow(e *corev1.Event, now time.Time) row {
	o := e.InvolvedObject
	message := oneLine(e.Message, 200)
	if e.Count > 1 {
		message += fmt.Sprintf(" (%d times)", e.Count)
	}
	return row{
		[]string{age(eventTime(e), now), e.Type, e.Reason, strings.ToLower(o.Kind) + "/" + o.Name, message},
		[]string{cmp.Or(e.Source.Host, e.ReportingInstance)},
	}
}

func eventTime(e *corev1.Event) time.Time {
	for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.CreationTimestamp.Time} {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
