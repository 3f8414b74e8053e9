package placement

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/podman-swarm/podman-swarm/projection"
)

func asks(cpu, memory string) corev1.ResourceRequirements {
	return corev1.ResourceRequirements{Requests: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}}
}

// A pod asks for what its containers ask for together, or for what one init container does, whichever is more, as in Kubernetes.
func TestReadTemplate_severalContainers(t *testing.T) {
	for i, c := range []struct {
		init []corev1.ResourceRequirements
		want need
	}{
		{nil, need{300, 96 << 20}},
		{[]corev1.ResourceRequirements{asks("200m", "64Mi"), asks("250m", "32Mi")}, need{300, 96 << 20}},
		{[]corev1.ResourceRequirements{asks("1", "64Mi"), asks("200m", "128Mi")}, need{1000, 128 << 20}},
	} {
		var p corev1.PodTemplateSpec
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/srv"}}}}
		p.Spec.Containers = []corev1.Container{{Name: "a", Resources: asks("100m", "64Mi")}, {Name: "b", Resources: asks("200m", "32Mi")}}
		for _, r := range c.init {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Resources: r, VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}})
		}
		got, err := readTemplate(projection.Encode(p))
		if err != nil {
			t.Fatal(err)
		}
		if got.need != c.want || (got.writable == "/srv") != (c.init != nil) {
			t.Errorf("%d: got %+v, writable %q, want %+v", i, got.need, got.writable, c.want)
		}
	}
}

// A pod whose first container runs, and another never has, is not available, nor has it been when the first ends.
func TestStatus_oneOfSeveralNeverRan(t *testing.T) {
	for _, c := range []struct {
		phase   projection.Phase
		readied time.Time
		want    string
	}{
		{projection.Running, time.Time{}, "ProgressDeadlineExceeded"},
		{projection.Exited, time.Time{}, "ProgressDeadlineExceeded"},
		{projection.Exited, time.Unix(1, 0), "ReplicaSetUpdated"},
	} {
		h := newHouse(t)
		h.deploy("web", 1, func(d *appsv1.Deployment) {
			k := d.Spec.Template.Spec.Containers[0]
			k.Name, k.Ports = "side", nil
			d.Spec.Template.Spec.Containers = append(d.Spec.Template.Spec.Containers, k)
			d.Spec.MinReadySeconds = 0
		})
		h.settle("web")
		seen := projection.Replica{Phase: c.phase, Restarts: 5, Readied: c.readied, Started: h.now.Add(-time.Minute), Finished: h.now,
			Others: map[string]projection.Replica{"side": {Phase: projection.Exited, Reason: "CrashLoopBackOff"}}}
		if c.phase == projection.Running {
			seen.Unready = "container side: CrashLoopBackOff"
		}
		h.says(0, seen)
		h.now = h.now.Add(time.Hour)
		if got := condition(h.rollout("web"), appsv1.DeploymentProgressing); got.Reason != c.want {
			t.Errorf("%+v: Progressing is %s, %s: %s; want %s", seen, got.Status, got.Reason, got.Message, c.want)
		}
	}
}
