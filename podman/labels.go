package podman

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// The labels that make a container, or a volume, the agent's. They are written once, when it is made, and only ever
// compared.
const (
	LabelCluster    = "io.podman-swarm.cluster"    // name of the cluster
	LabelHost       = "io.podman-swarm.host"       // name of the host whose agent made it
	LabelNamespace  = "io.podman-swarm.namespace"  // of the pod
	LabelPod        = "io.podman-swarm.pod"        // name of the pod
	LabelDeployment = "io.podman-swarm.deployment" // uid of the Deployment
	LabelPlacement  = "io.podman-swarm.placement"  // id of the event whose decision it carries out
	LabelSpecHash   = "io.podman-swarm.spec-hash"  // as the placement has it
	LabelPreStop    = "io.podman-swarm.pre-stop"   // what is to be done before it is stopped, if anything is
	LabelContainer  = "io.podman-swarm.container"  // name of the container in its pod; none on the pod's first
	LabelNetwork    = "io.podman-swarm.network"    // id of the container whose network it has, if it has another's
)

// owner is whose containers are looked at: those of one host in one cluster. All others are invisible.
type owner struct{ cluster, host string }

// has reports whether the labels are those of something that this agent made.
func (o owner) has(labels map[string]string) bool {
	return labels[LabelCluster] == o.cluster && labels[LabelHost] == o.host
}

// labels are those of everything that is made for a placement.
func (o owner) labels(w *projection.Placed) map[string]string {
	return map[string]string{
		LabelCluster:    o.cluster,
		LabelHost:       o.host,
		LabelNamespace:  w.Pod.Namespace,
		LabelPod:        w.Pod.Name(),
		LabelDeployment: w.Owner.String(),
		LabelPlacement:  w.Event().String(),
		LabelSpecHash:   w.SpecHash,
	}
}

// labelled is the pod and the placement that the labels name; false when they name none.
func labelled(labels map[string]string) (projection.Pod, events.ID, bool) {
	pod, ok := projection.PodNamed(labels[LabelNamespace], labels[LabelPod])
	id, err := events.ParseID(labels[LabelPlacement])
	return pod, id, ok && err == nil && !id.IsZero() && pod.Namespace != ""
}

// placementOf is the placement that a container's labels name; zero when they name none.
func placementOf(c *Container) events.ID {
	_, id, _ := labelled(c.Labels)
	return id
}

// containerName is the name of the n-th container tried for a placement: another for every placement, so that what
// an earlier one left behind is never in the way.
func containerName(pod projection.Pod, placement events.ID, n int) string {
	name := pod.Name() + "." + pod.Namespace + "." + short(placement)
	if n > 0 {
		name += "-" + strconv.Itoa(n+1)
	}
	return name
}

// partName is the name of the n-th container tried for one container of the pod: the first's, with its own behind it.
func partName(pod projection.Pod, placement events.ID, n int, of string) string {
	name := containerName(pod, placement, n)
	if of != "" {
		name += "." + of
	}
	return name
}

// named reports whether the container has one of the names that are given for the placement. A copy that somebody made
// of a container has its labels, as has what runs from an image that was committed from it, but not its name.
func named(c *Container, pod projection.Pod, placement events.ID) bool {
	for n := range nameTries {
		if c.Name == partName(pod, placement, n, c.Labels[LabelContainer]) {
			return true
		}
	}
	return false
}

// volumeName is the name of a placement's volume. It is by the number that the placement had first: recorded again under another, it still is
// the same decision, whose data the volume has.
func volumeName(w *projection.Placed, volume string) string {
	first := w.Event()
	if len(w.Was) > 0 {
		first = w.Was[0]
	}
	return containerName(w.Pod, first, 0) + "." + volume
}

// short tells a placement from all others that its pod ever had, for all practical purposes.
func short(placement events.ID) string {
	sum := sha256.Sum256([]byte(placement.String()))
	return hex.EncodeToString(sum[:4])
}
