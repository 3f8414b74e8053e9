package trial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
)

// Container is what Podman says of one.
type Container struct {
	ID     string `json:"Id"`
	Names  []string
	Labels map[string]string
	Run
}

// Run is one run of a container: as long as it is equal, the container was not touched.
type Run struct {
	State     string
	Pid       int
	StartedAt int64 // Unix time, in seconds
}

// String names the container and the run.
func (c *Container) String() string {
	return fmt.Sprintf("%.12s %s, %s, pid %d, started %s", c.ID, strings.Join(c.Names, ","), c.State, c.Pid,
		time.Unix(c.StartedAt, 0).UTC().Format(time.TimeOnly))
}

// Containers are all of the host, running or not, by name.
func Containers(ctx context.Context, host *podmanhost.Host) ([]Container, error) {
	out, err := host.Podman(ctx, "ps", "--all", "--no-trunc", "--format", "json")
	if err != nil {
		return nil, err
	}
	var all []Container
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return nil, fmt.Errorf("read podman ps: %w", err)
	}
	slices.SortFunc(all, func(a, b Container) int { return slices.Compare(a.Names, b.Names) })
	return all, nil
}

// Bounced names each container of before that is not in after as it was: same id, same process, same start time.
func Bounced(before, after []Container) []string {
	now := map[string]*Container{}
	for i := range after {
		now[after[i].ID] = &after[i]
	}
	var bounced []string
	for i := range before {
		c := &before[i]
		if n := now[c.ID]; n == nil {
			bounced = append(bounced, fmt.Sprintf("gone: %v", c))
		} else if n.Run != c.Run {
			bounced = append(bounced, fmt.Sprintf("was %v, is %v", c, n))
		}
	}
	return bounced
}

// podLabel is the label that names the pod of a container.
const podLabel = "io.podman-swarm.pod"

// OfDeployment are the containers that are replicas of that Deployment, whatever its namespace.
func OfDeployment(all []Container, name string) []Container {
	var of []Container
	for _, c := range all {
		pod := c.Labels[podLabel]
		if i := strings.LastIndexByte(pod, '-'); i >= 0 && pod[:i] == name {
			of = append(of, c)
		}
	}
	return of
}

// Pods waits until exactly that many containers of the Deployment are there, all of them running, and returns them.
func Pods(ctx context.Context, host *podmanhost.Host, name string, want int) ([]Container, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		all, err := Containers(ctx, host)
		of := OfDeployment(all, name)
		down := slices.ContainsFunc(of, func(c Container) bool { return c.State != "running" })
		if err == nil && len(of) == want && !down {
			return of, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("want %d running containers of %s: %w; there are %v", want, name, errors.Join(ctx.Err(), err), all)
		}
		wait(ctx, 50*time.Millisecond)
	}
}
