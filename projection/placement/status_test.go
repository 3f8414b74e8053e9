package placement

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
)

// That an old replica waits to see the new one stay up is no roll-out that stands still, however little time it has.
func TestStatus_steadyIsNoDeadline(t *testing.T) {
	h := newHouse(t)
	h.ran = 0
	hasty := func(d *appsv1.Deployment) { one := int32(1); d.Spec.ProgressDeadlineSeconds = &one }
	h.deploy("web", 1, hasty)
	h.settle("web")
	h.now = h.now.Add(time.Hour)
	h.deploy("web", 1, hasty, image("v2"))
	h.settle("web")
	h.now = h.now.Add(steady - time.Second)
	if c := condition(h.rollout("web"), appsv1.DeploymentProgressing); c.Status != "True" {
		t.Errorf("Progressing is %s, %s: %s", c.Status, c.Reason, c.Message)
	}
}
