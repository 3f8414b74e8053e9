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

// nodes are the hosts, as each speaks of itself.
func nodes() *resource {
	return &resource{
		kind: "Node", plural: "nodes", singular: "node", short: []string{"no"},
		readonly: "a node is what a host says of itself: its labels are flags of its agent",
		get: func(l *look, n name) (object, bool, error) {
			o, ok := l.Lookup(projection.HostKey(n.name))
			if !ok {
				return nil, false, nil
			}
			node, err := nodeOf(n.name, o)
			return node, err == nil, err
		},
		names: func(st *projection.State, _ string) iter.Seq[name] {
			return func(yield func(name) bool) {
				for o := range st.All(projection.HostType + "/") {
					if !yield(name{name: strings.TrimPrefix(o.Key, projection.HostType+"/")}) {
						return
					}
				}
			}
		},
		touched: func(key string) (name, bool) {
			host, ok := strings.CutPrefix(key, projection.HostType+"/")
			return name{name: host}, ok
		},
		version: func(l *look, n name) uint64 {
			if o, ok := l.Lookup(projection.HostKey(n.name)); ok {
				return o.Version.Index
			}
			return 0
		},
	}
}

func nodeOf(host string, o projection.Object) (*corev1.Node, error) {
	var h projection.Host
	if err := json.Unmarshal(o.Version.Object, &h); err != nil {
		return nil, fmt.Errorf("host %s: %w", host, err)
	}
	labels := map[string]string{"kubernetes.io/hostname": host, "kubernetes.io/os": "linux"}
	if h.Arch != "" {
		labels["kubernetes.io/arch"] = h.Arch
	}
	maps.Copy(labels, h.Labels)
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:    *quantity.NewQuantity(int64(h.CPUs), quantity.DecimalSI),
		corev1.ResourceMemory: *quantity.NewQuantity(h.Memory, quantity.BinarySI),
	}
	said := metav1.NewTime(wall(o.Stamp.Time))
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "PodmanReady",
		Message: "Podman " + h.Podman, LastHeartbeatTime: said, LastTransitionTime: said}
	if h.Podman == "" {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "PodmanUnreachable", "Podman cannot be reached"
	}
	node := &corev1.Node{
		TypeMeta: metav1.TypeMeta{Kind: "Node", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: host, UID: uidOf(o.UID), Labels: labels,
			CreationTimestamp: metav1.NewTime(h.Started.UTC().Truncate(time.Second))},
		Status: corev1.NodeStatus{
			Capacity: capacity, Allocatable: capacity, Conditions: []corev1.NodeCondition{ready},
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: host}},
			NodeInfo: corev1.NodeSystemInfo{
				KubeletVersion: h.Version, ContainerRuntimeVersion: "podman://" + cmp.Or(h.Podman, "unknown"),
				OSImage: h.OS, KernelVersion: h.Kernel, Architecture: h.Arch, OperatingSystem: "linux",
			},
		},
	}
	if h.Address != "" {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: h.Address})
	}
	return node, nil
}
