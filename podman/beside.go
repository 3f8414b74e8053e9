package podman

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// besideEvery is how often it is looked for what runs beside replicas: it takes a list of all containers of the host, also of those that are none of ours.
const besideEvery = time.Minute

// lookBeside notes what runs beside the replicas. Where nothing is declared nothing can, and Podman is not asked.
func (l *loop) lookBeside(ctx context.Context, state *projection.State) {
	declared := map[string]bool{}
	for o := range state.All("deployment/") {
		declared[o.Key[strings.LastIndexByte(o.Key, '/')+1:]] = true
	}
	var all []Container
	if len(declared) > 0 {
		err := within(ctx, quick, func(ctx context.Context) (err error) {
			all, err = l.Engine.List(ctx, "", "")
			return err
		})
		if err != nil { // what was found last stands
			if ctx.Err() == nil && l.Log != nil {
				l.Log.Debug("what runs beside the replicas could not be looked for; trying again", "err", err)
			}
			return
		}
	}
	names := besideOf(declared, all)
	l.mu.Lock()
	more := slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(l.beside, name) })
	l.beside = names
	l.mu.Unlock()
	if more && l.Log != nil {
		l.Log.Warn("containers that this agent did not make run under names that the original program gave to replicas; they are left running beside the new ones", "names", names)
	}
}

// besideOf are the names, sorted, of the containers that run, that no agent has labelled, and that are called as the original program called the replicas of a
// Deployment of any namespace: DEPLOYMENT-N.
func besideOf(declared map[string]bool, all []Container) (names []string) {
	for _, c := range all {
		_, ours := c.Labels[LabelCluster] // of whichever cluster
		pod, ok := projection.PodNamed("", c.Name)
		if ok && !ours && c.Status.Runs() && declared[pod.Deployment] {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

// Beside are the names of the containers that run, as of a minute ago at most, as DEPLOYMENT-N of a Deployment that is declared, and that no agent made: so the original
// program, which gave no labels, called its replicas. They are told of, and never touched.
func (r *Reconciler) Beside() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.beside)
}
