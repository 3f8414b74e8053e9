package api

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// pods are computed: a placement says that there is one and of what it is made, and its host how it is doing.
func pods() *resource {
	return &resource{
		kind: "Pod", plural: "pods", singular: "pod", short: []string{"po"}, namespaced: true,
		readonly: "pods are made of what Deployments say: to have some, declare one (kubectl create deployment NAME --image=IMAGE);" +
			" to have fewer, scale it; to have none, delete it; or restart it (kubectl rollout restart deployment/NAME)",
		get: func(l *look, n name) (object, bool, error) {
			p, ok := projection.PodNamed(n.namespace, n.name)
			if !ok {
				return nil, false, nil
			}
			placed, err := l.Placement(p)
			if err != nil || placed == nil {
				return nil, false, err
			}
			pod, err := podOf(l, placed)
			return pod, err == nil, err
		},
		names: func(st *projection.State, namespace string) iter.Seq[name] {
			prefix := projection.PlacementType + "/"
			if namespace != "" {
				prefix += namespace + "/"
			}
			return func(yield func(name) bool) {
				for o := range st.All(prefix) {
					if p, _, ok := projection.PodOf(o.Key); ok && !yield(name{p.Namespace, p.Name()}) {
						return
					}
				}
			}
		},
		touched: func(key string) (name, bool) {
			p, _, ok := projection.PodOf(key)
			return name{p.Namespace, p.Name()}, ok
		},
		stirred: func(step *projection.Step, self, key string) []name {
			var all []name
			for _, p := range stirredPods(step, self, key) {
				all = append(all, name{p.Namespace, p.Name()})
			}
			return all
		},
		version: func(l *look, n name) uint64 {
			p, ok := projection.PodNamed(n.namespace, n.name)
			if !ok {
				return 0
			}
			o, _ := l.Lookup(p.PlacementKey())
			if o.Version == nil {
				return 0
			}
			newest := o.Version.Index
			for said := range l.All(p.ReplicaKey("")) {
				newest = max(newest, said.Version.Index)
			}
			return newest
		},
	}
}

// podOf renders a placement, and what its host says of it, as a Pod.
func podOf(l *look, p *projection.Placed) (*corev1.Pod, error) {
	var t corev1.PodTemplateSpec
	if err := json.Unmarshal(p.Template, &t); err != nil {
		return nil, fmt.Errorf("template of pod %s/%s: %w", p.Namespace, p.Name(), err)
	}
	seen, err := l.Replica(p)
	if err != nil {
		return nil, err
	}
	yes := true
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Name: p.Name(), Namespace: p.Namespace, UID: podUID(p.UID, p.Host), Generation: 1,
			CreationTimestamp: metav1.NewTime(wall(p.Object.Stamp.Time)),
			Labels:            maps.Clone(t.Labels), Annotations: maps.Clone(t.Annotations),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: "Deployment", Name: p.Deployment, UID: uidOf(p.Owner),
				Controller: &yes, BlockOwnerDeletion: &yes,
			}},
		},
		Spec: t.Spec,
	}
	if pod.Labels == nil {
		pod.Labels = map[string]string{}
	}
	pod.Labels["pod-template-hash"] = p.SpecHash
	pod.Spec.NodeName = p.Host
	podStatus(pod, p, seen)
	if a := l.absence(p.Host); a != nil {
		lost(pod, a)
	}
	pod.Status.QOSClass = qosClass(&t.Spec)
	return pod, nil
}

func podUID(id events.ID, host string) types.UID { return types.UID(projection.PodUID(id, host)) }

// lost says of a pod that nothing is known of it any more, in Kubernetes' words: what its host said last is not to be
// relied upon.
func lost(pod *corev1.Pod, a *absence) {
	st := &pod.Status
	st.Phase, st.Reason, st.Message = corev1.PodUnknown, "NodeLost", a.text
	for i := range st.Conditions {
		switch c := &st.Conditions[i]; c.Type {
		case corev1.PodReady, corev1.ContainersReady:
			c.Status, c.Reason, c.Message = corev1.ConditionUnknown, "NodeLost", a.text
			c.LastTransitionTime = metav1.NewTime(a.since.Truncate(time.Second))
		}
	}
	for i := range st.ContainerStatuses {
		c, no := &st.ContainerStatuses[i], false
		c.Ready, c.Started, c.State = false, &no, corev1.ContainerState{}
	}
}

// wall is the time of a stamp as Kubernetes shows times: in whole seconds.
func wall(t events.Time) time.Time { return t.Wall().Truncate(time.Second) }

// podStatus says how the pod is doing, in Kubernetes' words: one that has run before is Running, even while it waits
// to be started again, and its container says why it is not ready.
func podStatus(pod *corev1.Pod, p *projection.Placed, r *projection.Replica) {
	st := &pod.Status
	st.Phase = corev1.PodPending
	since := pod.CreationTimestamp
	if p.Host == "" {
		st.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
			Reason: corev1.PodReasonUnschedulable, Message: p.Why, LastTransitionTime: since}}
		return
	}
	st.StartTime = &since
	ready := r != nil && r.Phase == projection.Running && r.Unready == ""
	if r != nil {
		if r.Phase != projection.Pending || !r.Started.IsZero() {
			st.Phase = corev1.PodRunning
		}
		st.PodIP = r.IP
		if r.IP != "" {
			st.PodIPs = []corev1.PodIP{{IP: r.IP}}
		}
		for i := range pod.Spec.Containers {
			publish(pod.Spec.Containers[i].Ports, r.Ports)
		}
	}
	changed := since
	if r != nil && !r.Started.IsZero() {
		changed = metav1.NewTime(r.Started.Truncate(time.Second))
	}
	if r != nil && ready && r.Readied.After(r.Started) {
		changed = metav1.NewTime(r.Readied.Truncate(time.Second))
	}
	if r != nil && !ready && r.Finished.After(r.Started) {
		changed = metav1.NewTime(r.Finished.Truncate(time.Second))
	}
	condition := func(typ corev1.PodConditionType, ok bool, at metav1.Time) {
		c := corev1.PodCondition{Type: typ, Status: corev1.ConditionTrue, LastTransitionTime: at}
		if !ok {
			c.Status, c.Reason = corev1.ConditionFalse, "ContainersNotReady"
			if r != nil && r.Phase == projection.Running {
				c.Message = r.Unready
			}
		}
		st.Conditions = append(st.Conditions, c)
	}
	condition(corev1.PodScheduled, true, since)
	condition(corev1.PodInitialized, initContainers(pod, r), since)
	if c := &st.Conditions[len(st.Conditions)-1]; c.Status == corev1.ConditionFalse {
		c.Reason, c.Message = "ContainersNotInitialized", "not all init containers have done their work"
	}
	condition(corev1.ContainersReady, ready, changed)
	condition(corev1.PodReady, ready, changed)
	for i, c := range pod.Spec.Containers {
		name := c.Name
		if i == 0 {
			name = ""
		}
		cs := containerStatus(c, r.Part(name))
		if w := cs.State.Waiting; w != nil && len(pod.Spec.InitContainers) > 0 && w.Reason == "ContainerCreating" && (r == nil || r.Container == "") {
			w.Reason = "PodInitializing"
		}
		st.ContainerStatuses = append(st.ContainerStatuses, cs)
	}
}

// initContainers says how the pod's init containers are doing, and reports whether all have done their work: they have when the first of the
// others is there.
func initContainers(pod *corev1.Pod, r *projection.Replica) bool {
	all := true
	for _, c := range pod.Spec.InitContainers {
		part := r.Part(c.Name)
		cs := containerStatus(c, part)
		switch {
		case part != nil && part.Phase == projection.Exited && part.ExitCode == 0 && !part.OOMKilled, r != nil && r.Container != "":
			cs.Ready = true
			cs.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed", ContainerID: cs.ContainerID}}
			if part != nil {
				cs.State.Terminated.StartedAt, cs.State.Terminated.FinishedAt = metav1.NewTime(part.Started), metav1.NewTime(part.Finished)
			}
			cs.LastTerminationState = corev1.ContainerState{}
		case part == nil:
			cs.State.Waiting.Reason, all = "PodInitializing", false
		default:
			cs.Ready, all = false, false
		}
		pod.Status.InitContainerStatuses = append(pod.Status.InitContainerStatuses, cs)
	}
	return all
}

// qosClass follows from what the containers ask for, as in Kubernetes: nothing, all that they may have, or some of it.
func qosClass(spec *corev1.PodSpec) corev1.PodQOSClass {
	class := corev1.PodQOSGuaranteed
	some := false
	for _, c := range slices.Concat(spec.Containers, spec.InitContainers) {
		some = some || len(c.Resources.Limits)+len(c.Resources.Requests) > 0
		for _, r := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit, ok := c.Resources.Limits[r]
			asked, less := c.Resources.Requests[r]
			if !ok || less && asked.Cmp(limit) != 0 {
				class = corev1.PodQOSBurstable
			}
		}
	}
	if !some {
		return corev1.PodQOSBestEffort
	}
	return class
}

// publish shows on which ports of the host the container's ports are reached, also where the host chose them.
func publish(ports []corev1.ContainerPort, there []projection.Port) {
	for i := range ports {
		for _, p := range there {
			if int(ports[i].ContainerPort) == p.Container && string(ports[i].Protocol) == p.Protocol {
				ports[i].HostPort, ports[i].HostIP = int32(p.Host), p.HostIP
			}
		}
	}
}

func containerStatus(c corev1.Container, r *projection.Replica) corev1.ContainerStatus {
	cs := corev1.ContainerStatus{Name: c.Name, Image: c.Image}
	started := false
	cs.Started = &started
	if r == nil {
		cs.State.Waiting = &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}
		return cs
	}
	cs.ImageID, cs.RestartCount = r.Image, int32(r.Restarts)
	if r.Container != "" {
		cs.ContainerID = "podman://" + r.Container
	}
	var ended *corev1.ContainerStateTerminated
	if !r.Finished.IsZero() {
		ended = &corev1.ContainerStateTerminated{ExitCode: int32(r.ExitCode), Reason: "Completed",
			FinishedAt: metav1.NewTime(r.Finished), ContainerID: cs.ContainerID}
		switch {
		case r.OOMKilled:
			ended.Reason = "OOMKilled"
		case r.ExitCode != 0:
			ended.Reason = "Error"
		}
	}
	switch {
	case r.Phase == projection.Running:
		started, cs.Ready = !strings.HasPrefix(r.Unready, "startup probe"), r.Unready == ""
		cs.State.Running = &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(r.Started)}
		cs.LastTerminationState.Terminated = ended
	case r.Phase == projection.Exited && r.Reason == "" && ended != nil:
		ended.StartedAt, ended.Message = metav1.NewTime(r.Started), r.Message
		cs.State.Terminated = ended
	default:
		reason := r.Reason
		if reason == "" {
			reason = "ContainerCreating"
		}
		cs.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: r.Message}
		if ended != nil && r.Finished.After(r.Started) {
			ended.StartedAt = metav1.NewTime(r.Started)
		}
		cs.LastTerminationState.Terminated = ended
	}
	return cs
}
