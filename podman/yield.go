package podman

import (
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// known is what Plan asks of the state, as the host sees it.
type known struct {
	*projection.State
	host string
}

// Serves reports whether the placement's host says that the pod runs there, and this host hears it, and has heard it say so
// since it was last silent: its machine may have been off.
func (k known) Serves(p *projection.Placed) bool {
	sight := k.HeardBy(k.host)
	if _, silent := sight.Silent[p.Host]; silent || slices.Contains(sight.Recovering, p.Host) {
		return false
	}
	r, err := k.Replica(p)
	return err == nil && r != nil && r.Phase == projection.Running
}

// caseOf is what Plan is asked about one container of the pod.
func (l *loop) caseOf(first, r *replica) Case {
	c := r.Case
	c.Boot, c.Whole, c.Layout, c.Rest = l.Boot, first.Whole, first.Layout, nil
	for _, other := range first.parts() {
		for _, there := range other.There {
			if other != r && !slices.Contains(other.retry.left, there.ID) { // what is left, and does not run, holds nobody up
				c.Rest = append(c.Rest, there)
			}
		}
	}
	if len(c.There) == 0 || !r.placement.IsZero() {
		return c
	}
	placed, err := l.view.Placement(r.Pod)
	if err == nil && placed != nil && placed.Host != l.Host && placed.Host != "" {
		c.InTheWay = l.inTheWay(first, placed)
	}
	return c
}

// keep notes why containers of a pod that has moved run on, and says it once.
func (l *loop) keep(r *replica, why string) {
	if why != "" && why != r.kept && l.Log != nil {
		l.Log.Info("pod has moved; its container runs on until the other does", "namespace", r.Pod.Namespace, "pod", r.Pod.Name(), "why", why)
	}
	r.kept = why
}

// inTheWay says what another pod that is placed here, and does not run yet, needs of what the containers of a pod hold that
// has moved, or is over; "" for nothing. moved is its placement; nil: which folders it uses is not known.
func (l *loop) inTheWay(r *replica, moved *projection.Placed) string {
	var ports []projection.Port
	if r.Recorded != nil {
		ports = r.Recorded.Ports
	}
	for _, c := range r.There { // the first container has the ports of all
		ports = append(slices.Clip(ports), c.Ports...)
	}
	var mounts map[string]bool
	if moved != nil {
		mounts = hostMounts(moved)
	}
	for pod, other := range l.replicas {
		running := other.Recorded != nil && other.Recorded.Placement == other.placement && other.Recorded.Phase == projection.Running
		if other.placement.IsZero() || running {
			continue
		}
		placed, err := l.view.Placement(pod)
		if err != nil || placed == nil {
			continue
		}
		if what := wants(placed, ports, mounts); what != "" {
			return fmt.Sprintf("%s is needed by %s/%s", what, pod.Namespace, pod.Name())
		}
	}
	return ""
}

// wants says which of the host ports and folders the placement needs for itself; "" for none.
func wants(placed *projection.Placed, ports []projection.Port, mounts map[string]bool) string {
	p, err := readPod(placed, "")
	if err != nil {
		return ""
	}
	for _, c := range p.ports() {
		port := c.HostPort
		if p.spec.HostNetwork {
			port = c.ContainerPort
		}
		for _, has := range ports {
			if port != 0 && has.Host == int(port) && has.Protocol == protocol(c.Protocol) && (anyIP(c.HostIP) || anyIP(has.HostIP) || c.HostIP == has.HostIP) {
				return fmt.Sprintf("host port %d/%s", port, has.Protocol)
			}
		}
	}
	for folder, writes := range hostMounts(placed) {
		if others, ok := mounts[folder]; ok && (writes || others) {
			return "hostPath " + folder
		}
	}
	return ""
}

func protocol(p corev1.Protocol) string {
	if p == "" {
		p = corev1.ProtocolTCP
	}
	return string(p)
}

func anyIP(ip string) bool { return ip == "" || ip == "0.0.0.0" || ip == "::" }

// hostMounts are the folders of its host that the pod mounts, and whether it may write to them.
func hostMounts(placed *projection.Placed) map[string]bool {
	p, err := readPod(placed, "")
	if err != nil {
		return nil
	}
	all := map[string]bool{}
	for _, v := range p.spec.Volumes {
		for _, c := range slices.Concat(p.spec.Containers, p.spec.InitContainers) {
			for _, m := range c.VolumeMounts {
				if v.HostPath != nil && m.Name == v.Name {
					all[path.Clean(v.HostPath.Path)] = all[path.Clean(v.HostPath.Path)] || !m.ReadOnly
				}
			}
		}
	}
	return all
}
