package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

func podRow(p *corev1.Pod, now time.Time) row {
	ready, restarts := 0, int32(0)
	var images, ids []string
	for _, c := range p.Status.ContainerStatuses {
		if c.Ready {
			ready++
		}
		restarts += c.RestartCount
		_, id, _ := strings.Cut(c.ContainerID, "://")
		ids = append(ids, id[:min(12, len(id))])
	}
	for _, c := range p.Spec.Containers {
		images = append(images, c.Image)
	}
	status, message := podState(p)
	return row{
		[]string{p.Name, fmt.Sprintf("%d/%d", ready, len(p.Spec.Containers)), status, strconv.Itoa(int(restarts)),
			age(p.CreationTimestamp.Time, now), cmp.Or(p.Spec.NodeName, "<none>"), hostPorts(p), oneLine(message, 80)},
		[]string{cmp.Or(p.Status.PodIP, "<none>"), strings.Join(images, ","), strings.Join(ids, ",")},
	}
}

// podState is how a pod is doing, in one word, and why when it is not as wanted.
func podState(p *corev1.Pod) (status, message string) {
	status, message = cmp.Or(p.Status.Reason, string(p.Status.Phase), "Unknown"), p.Status.Message
	if p.Status.Phase == corev1.PodUnknown {
		return string(corev1.PodUnknown), message
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return cmp.Or(c.Reason, "Unschedulable"), c.Message
		}
	}
	for i, c := range p.Status.InitContainerStatuses {
		switch s := c.State; {
		case s.Terminated != nil && s.Terminated.ExitCode == 0:
			continue
		case s.Waiting != nil && s.Waiting.Reason != "" && s.Waiting.Reason != "PodInitializing":
			return "Init:" + s.Waiting.Reason, cmp.Or(s.Waiting.Message, lastRun(&c))
		}
		return fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers)), ""
	}
	for _, c := range p.Status.ContainerStatuses {
		switch s := c.State; {
		case s.Waiting != nil && s.Waiting.Reason != "":
			status, message = s.Waiting.Reason, cmp.Or(s.Waiting.Message, lastRun(&c))
		case s.Terminated != nil:
			status, message = cmp.Or(s.Terminated.Reason, "Exited"), ended(s.Terminated)
		}
	}
	if p.DeletionTimestamp != nil {
		status = "Terminating"
	}
	return status, message
}

// lastRun is how the container's last run ended; "" when there was none.
func lastRun(c *corev1.ContainerStatus) string {
	if c.LastTerminationState.Terminated == nil {
		return ""
	}
	return ended(c.LastTerminationState.Terminated)
}

func ended(t *corev1.ContainerStateTerminated) string {
	how := fmt.Sprintf("exit code %d", t.ExitCode)
	if t.Signal != 0 {
		how = fmt.Sprintf("signal %d", t.Signal)
	}
	if t.Reason != "" && t.Reason != "Completed" && t.Reason != "Error" {
		how = t.Reason + ", " + how
	}
	if t.Message != "" {
		how += ": " + t.Message
	}
	return how
}

// hostPorts is where the pod's ports are to be reached: "41003->80/tcp".
func hostPorts(p *corev1.Pod) string {
	var ports []string
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			text := strconv.Itoa(int(port.ContainerPort)) + "/" + protocol(port.Protocol)
			if port.HostPort != 0 {
				text = strconv.Itoa(int(port.HostPort)) + "->" + text
				if port.HostIP != "" && port.HostIP != "0.0.0.0" {
					text = port.HostIP + ":" + text
				}
			}
			ports = append(ports, text)
		}
	}
	return strings.Join(ports, ",")
}

// holdup is what keeps one container of a pod from being ready.
type holdup struct {
	pod       string
	container string // "" when it is the pod as a whole
	reason    string // one word
	message   string
	logs      bool // the container has run, so its log may tell more
}

// underWay reports whether a container that waits for this reason is merely on its way.
func underWay(reason string) bool {
	return slices.Contains([]string{"", "ContainerCreating", "PodInitializing", "Pending", "Pulling"}, reason)
}

// heldUp gives what keeps a pod from being ready. A pod that is merely on its way is not held up.
func heldUp(p *corev1.Pod) []holdup {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return []holdup{{pod: p.Name, reason: cmp.Or(c.Reason, "Unschedulable"), message: c.Message}}
		}
	}
	if (len(p.Status.ContainerStatuses) == 0 || p.Status.Phase == corev1.PodUnknown) && p.Status.Reason != "" {
		return []holdup{{pod: p.Name, reason: p.Status.Reason, message: p.Status.Message}}
	}
	var all []holdup
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		h := holdup{pod: p.Name, container: c.Name}
		switch s := c.State; {
		case c.Ready:
			continue
		case s.Terminated != nil:
			h.reason, h.message, h.logs = cmp.Or(s.Terminated.Reason, "Exited"), ended(s.Terminated), true
		case s.Waiting != nil && !underWay(s.Waiting.Reason):
			h.reason, h.message = s.Waiting.Reason, cmp.Or(s.Waiting.Message, lastRun(&c))
			h.logs = c.LastTerminationState.Terminated != nil
		default:
			continue
		}
		all = append(all, h)
	}
	return all
}
