package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// nodes are the hosts: what each says of itself, what people say of it, and whether this host hears it.
func nodes() *resource {
	return &resource{
		kind: "Node", plural: "nodes", singular: "node", short: []string{"no"},
		readonly: "a node is there when its agent has joined; of one that is there, labels, annotations, taints and unschedulable" +
			" can be changed, and psctl node remove shuts it out for good",
		get: func(l *look, n name) (object, bool, error) {
			o, ok := l.Lookup(projection.HostKey(n.name))
			if !ok || l.Removed(n.name) {
				return nil, false, nil
			}
			node, err := nodeOf(l, n.name, o)
			return node, err == nil, err
		},
		names: func(st *projection.State, _ string) iter.Seq[name] {
			return func(yield func(name) bool) {
				for host := range knownHosts(st) {
					if !yield(name{name: host}) {
						return
					}
				}
			}
		},
		touched: func(key string) (name, bool) {
			host, ok := strings.CutPrefix(key, projection.HostType+"/")
			return name{name: host}, ok
		},
		stirred: func(step *projection.Step, self, key string) []name {
			var all []name
			for _, host := range stirred(step, self, key) {
				all = append(all, name{name: host})
			}
			return all
		},
		version: func(l *look, n name) uint64 {
			newest := uint64(0)
			keys := []string{projection.HostKey(n.name), projection.NodeKey(n.name)}
			h, _ := projection.Read[projection.Host](l.State, projection.HostKey(n.name))
			if _, ok := l.silent()[n.name]; ok || !h.Left.IsZero() {
				keys = append(keys, projection.SightKey(l.self))
			}
			for _, key := range keys {
				if o, ok := l.Lookup(key); ok {
					newest = max(newest, o.Version.Index)
				}
			}
			return newest
		},
	}
}

// drainingNote is the annotation by which a Node shows that what it has is to move elsewhere: Kubernetes has no word
// for that.
const drainingNote = "podman-swarm/draining"

func nodeOf(l *look, host string, o projection.Object) (*corev1.Node, error) {
	var h projection.Host
	if err := json.Unmarshal(o.Version.Object, &h); err != nil {
		return nil, fmt.Errorf("host %s: %w", host, err)
	}
	n := said(l.State, host)
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    *quantity.NewQuantity(int64(h.CPUs), quantity.DecimalSI),
		corev1.ResourceMemory: *quantity.NewQuantity(h.Memory, quantity.BinarySI),
	}
	node := &corev1.Node{
		TypeMeta: metav1.TypeMeta{Kind: "Node", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: host, UID: uidOf(o.UID), Labels: hostLabels(host, h, n), Annotations: maps.Clone(n.Annotations),
			CreationTimestamp: metav1.NewTime(h.Started.UTC().Truncate(time.Second))},
		Spec: corev1.NodeSpec{Unschedulable: n.Unschedulable || n.Draining, Taints: n.Taints},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity, Conditions: conditions(l, host, &h, o),
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: host}},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: h.Version, ContainerRuntimeVersion: "podman://" + cmp.Or(h.Podman, "unknown"),
				OSImage: h.OS, KernelVersion: h.Kernel, Architecture: h.Arch, OperatingSystem: "linux",
			},
		},
	}
	if n.Draining {
		if node.Annotations == nil {
			node.Annotations = map[string]string{}
		}
		node.Annotations[drainingNote] = "true"
	}
	if h.Address != "" {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: h.Address})
	}
	return node, nil
}

// conditions are how a host is doing, in Kubernetes' words. Ready is Unknown of one that is not heard.
func conditions(l *look, host string, h *projection.Host, o projection.Object) []corev1.NodeCondition {
	saidAt := metav1.NewTime(wall(o.Stamp.Time))
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "PodmanReady",
		Message: "Podman " + h.Podman, LastHeartbeatTime: saidAt, LastTransitionTime: saidAt}
	if h.Podman == "" {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "PodmanUnreachable", "Podman cannot be reached"
	}
	if a := l.absence(host); a != nil {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionUnknown, a.reason, a.text
		if a.state == StateStopped {
			ready.Status = corev1.ConditionFalse
		}
		ready.LastTransitionTime = metav1.NewTime(wall(o.Stamp.Time))
		if !a.since.IsZero() {
			ready.LastTransitionTime.Time = a.since.UTC().Truncate(time.Second)
		}
	}
	full := corev1.NodeCondition{Type: "ReadOnly", Status: corev1.ConditionFalse, Reason: "LogWritable",
		Message: "changes are recorded", LastHeartbeatTime: saidAt, LastTransitionTime: saidAt}
	if h.ReadOnly != "" {
		full.Status, full.Reason, full.Message = corev1.ConditionTrue, "LogReadOnly", h.ReadOnly
	}
	return []corev1.NodeCondition{ready, full}
}
