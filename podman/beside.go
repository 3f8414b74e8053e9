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

// lookBeside notes what runs beside the replicas, or in their stead. Where no Deployment is declared or refused nothing can, and Podman is not asked.
func (l *loop) lookBeside(ctx context.Context, state *projection.State) {
	declared, refused := namesBelow(state, "deployment/"), namesBelow(state, projection.RefusedKey("deployment/"))
	var all []Container
	if len(declared)+len(refused) > 0 {
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
	beside, instead := besideOf(declared, refused, all)
	l.mu.Lock()
	more, moreInstead := adds(beside, l.beside), adds(instead, l.instead)
	l.beside, l.instead = beside, instead
	l.mu.Unlock()
	if more && l.Log != nil {
		l.Log.Warn("containers that this agent did not make run under names that the original program gave to replicas; they are left running beside the new ones", "names", beside)
	}
	if moreInstead && l.Log != nil {
		l.Log.Warn("containers that this agent did not make run under names that the original program gave to replicas, of Deployments that could not be declared as they were; "+
			"they are left running, and nothing takes their place", "names", instead)
	}
}

// namesBelow are the names, of whichever namespace, of what is shown below a key.
func namesBelow(state *projection.State, key string) map[string]bool {
	names := map[string]bool{}
	for o := range state.All(key) {
		names[o.Key[strings.LastIndexByte(o.Key, '/')+1:]] = true
	}
	return names
}

// adds reports whether there are names that were not there.
func adds(names, was []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(was, name) })
}

// besideOf are the names, sorted, of the containers that run, that no agent has labelled, and that are called as the original program called the replicas of a
// Deployment of any namespace: DEPLOYMENT-N. Instead are those of one that was refused, where none of that name is declared.
func besideOf(declared, refused map[string]bool, all []Container) (beside, instead []string) {
	for _, c := range all {
		_, ours := c.Labels[LabelCluster] // of whichever cluster
		pod, ok := projection.PodNamed("", c.Name)
		switch {
		case !ok || ours || !c.Status.Runs():
		case declared[pod.Deployment]:
			beside = append(beside, c.Name)
		case refused[pod.Deployment]:
			instead = append(instead, c.Name)
		}
	}
	slices.Sort(beside)
	slices.Sort(instead)
	return beside, instead
}

// Beside are the names of the containers that run, as of a minute ago at most, as DEPLOYMENT-N of a Deployment that is declared, and that no agent made: so the original
// program, which gave no labels, called its replicas. Instead are those of a Deployment of that program's that could not be declared as it was: nothing takes their
// place. They are told of, and never touched.
func (r *Reconciler) Beside() (beside, instead []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.beside), slices.Clone(r.instead)
}
