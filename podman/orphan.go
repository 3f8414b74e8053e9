package podman

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// OrphanType is the type of the facts that tell of orphans that are being removed: orphan/HOST/CONTAINER.
const OrphanType = "orphan"

// ErrNoOrphan: the container is none that this host's agent made, or something explains it.
var ErrNoOrphan = errors.New("not an orphan")

// ErrMisfit: nothing that is placed on this host is what the orphan carries out.
var ErrMisfit = errors.New("the orphan cannot be adopted")

// orphan looks at Podman and the state and gives the orphan, if the container is one, and what is known of its pod.
func (r *Reconciler) orphan(ctx context.Context, id string) (Orphan, Case, Decision, error) {
	fail := func(err error) (Orphan, Case, Decision, error) {
		return Orphan{}, Case{}, Decision{}, fmt.Errorf("orphan %s: %w", id, err)
	}
	own := r.owner()
	c, err := r.Engine.Inspect(ctx, id)
	if err != nil {
		return fail(err)
	}
	if !own.has(c.Labels) {
		return fail(fmt.Errorf("%w: its labels are not those of host %s in cluster %s", ErrNoOrphan, own.host, own.cluster))
	}
	pod, _, ok := labelled(c.Labels)
	if !ok {
		return Orphan{Container: c, Why: "its labels cannot be read"}, Case{}, Decision{}, nil
	}
	all, err := r.Engine.List(ctx, LabelCluster, own.cluster)
	if err != nil {
		return fail(err)
	}
	state := r.Ledger.View().State
	of := c.Labels[LabelContainer]
	k := Case{Pod: pod, Of: of, Whole: recorded(state, pod, r.Host)}
	k.Recorded = k.Whole.Part(of)
	if placed, err := state.Placement(pod); err == nil && placed != nil {
		k.Layout = layoutOf(placed)
	}
	for _, there := range all {
		if p, _, ok := labelled(there.Labels); !ok || p != pod || !own.has(there.Labels) {
			continue
		}
		if there.Labels[LabelContainer] == of {
			k.There = append(k.There, there)
		} else {
			k.Rest = append(k.Rest, there)
		}
	}
	d, err := Plan(known{state, r.Host}, r.Host, k)
	if err != nil {
		return fail(err)
	}
	i := slices.IndexFunc(d.Orphans, func(o Orphan) bool { return o.ID == c.ID })
	if i < 0 {
		return fail(fmt.Errorf("%w: its placement is known here", ErrNoOrphan))
	}
	d.Orphans[i].Container = c
	return d.Orphans[i], k, d, nil
}

// RemoveOrphan stops an orphan and removes it, on a person's word. On return it is gone, and the log says who had it
// removed. The error wraps ErrNotFound or ErrNoOrphan where one applies; after any other it may still be there.
func (r *Reconciler) RemoveOrphan(ctx context.Context, by projection.By, container string) error {
	o, _, _, err := r.orphan(ctx, container)
	if err != nil {
		return err
	}
	key := OrphanType + "/" + r.Host + "/" + o.ID
	fact := projection.Encode(map[string]string{
		"name": o.Name, "why": o.Why, "namespace": o.Labels[LabelNamespace], "pod": o.Labels[LabelPod], "placement": o.Labels[LabelPlacement]})
	if err := r.tell(ctx, by, key, fact); err != nil { // before: nothing is removed that the log does not tell of
		return fmt.Errorf("remove orphan %s: %w", o.Name, err)
	}
	if o.Status.Runs() && o.Status != StatusPaused {
		err = within(ctx, o.Grace+slow, func(ctx context.Context) error { return r.Engine.Stop(ctx, o.ID, 0) })
	}
	if err == nil {
		err = within(ctx, slow, func(ctx context.Context) error { return r.Engine.Remove(ctx, o.ID) })
	}
	if err != nil {
		return fmt.Errorf("remove orphan %s: %w", o.Name, err)
	}
	r.stats.Removed.Add(1)
	if r.Log != nil {
		r.Log.Info("removed orphan", "container", abbreviate(o.ID), "name", o.Name, "actor", by.Actor)
	}
	return r.tell(ctx, by, key, nil)
}

func (r *Reconciler) tell(ctx context.Context, by projection.By, key string, object []byte) error {
	_, err := r.Ledger.Record(ctx, by, func(s *projection.State) ([]projection.Change, error) {
		if _, ok := s.Lookup(key); !ok && object == nil {
			return nil, nil
		}
		return []projection.Change{{Kind: events.Observed, Key: key, Object: object}}, nil
	})
	return err
}

// AdoptOrphan makes an orphan the container of its pod's placement on this host, on a person's word. It runs on
// untouched; the container that the placement has had is removed. On return it is recorded, and that is what makes it
// so from then on.
//
// The error wraps ErrMisfit, and says what to do instead, when the pod is not placed on this host, or from another
// spec, or when the orphan does not run and what would give way to it does.
func (r *Reconciler) AdoptOrphan(ctx context.Context, by projection.By, container string) error {
	o, k, d, err := r.orphan(ctx, container)
	if err != nil {
		return err
	}
	misfit := func(why string) error {
		return fmt.Errorf("adopt orphan %s: %w: %s, or remove it", o.Name, ErrMisfit, why)
	}
	switch {
	case d.Placed == nil:
		return misfit(fmt.Sprintf("pod %s/%s is not placed on this host: apply the manifest that it was made from",
			o.Labels[LabelNamespace], o.Labels[LabelPod]))
	case d.Placed.SpecHash != o.Labels[LabelSpecHash]:
		return misfit("it was made from another spec than the pod now has: apply the manifest that it was made from")
	case d.Runs != "" && !o.Status.Runs():
		return misfit("it does not run, and another container of the pod does: start it with podman start " + o.Name)
	}
	t := turn{crew: &crew{Reconciler: r}, Case: k, Decision: d}
	_, err = r.Ledger.Record(ctx, by, func(s *projection.State) ([]projection.Change, error) {
		fact := projection.Encode(t.whole(recorded(s, k.Pod, r.Host), t.fact(&o.Container)))
		return []projection.Change{{Kind: events.Observed, Key: k.Pod.ReplicaKey(r.Host), Object: fact}}, nil
	})
	return err
}

// sweepEvery is how often volumes that nothing needs any more are looked for, even if nothing was removed.
const sweepEvery = 10 * time.Minute

// sweep removes the volumes of placements that are over, on the same evidence as containers. One that a container
// still uses stays until the next time.
func (l *loop) sweep(ctx context.Context, state *projection.State) {
	var all []Volume
	err := within(ctx, quick, func(ctx context.Context) (err error) {
		all, err = l.Engine.Volumes(ctx, LabelCluster, l.own.cluster)
		return err
	})
	for _, v := range all {
		pod, id, ok := labelled(v.Labels)
		if !ok || !l.own.has(v.Labels) || !state.Covers(id) {
			continue
		}
		if placed, err := state.Placement(pod); err != nil || placed != nil && placed.Is(id) {
			continue
		}
		err = errors.Join(err, within(ctx, slow, func(ctx context.Context) error { return l.Engine.RemoveVolume(ctx, v.Name) }))
	}
	if err != nil && ctx.Err() == nil && l.Log != nil {
		l.Log.Debug("not all volumes that are over could be removed; trying again", "err", err)
	}
	// A container that is left may hold a volume, and nothing a file: people are to know of what a Secret has filled and that is not gone.
	if err := l.sweepFiles(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ErrUnavailable) && l.Log != nil {
		l.Log.Warn("not all files of volumes that are over could be removed; trying again", "folder", l.Files, "every", sweepEvery, "err", err)
	}
}
