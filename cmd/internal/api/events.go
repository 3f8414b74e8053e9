package api

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
)

// Kubernetes' Events are told of the commits that the ledger remembers: who declared what, where a pod was placed and
// why, how its container is doing, and what becomes of hosts (events_node.go). What happened to one object for one reason
// is one Event, counted; the whole history is at /swarm/v1/events.

// happening is what one event of the log means to people.
type happening struct {
	about           corev1.ObjectReference
	reason, message string
	warning         bool
}

// remembered are all the steps that the view can still give.
func remembered(v *projection.View) []projection.Step {
	first := sort.Search(int(v.Index()), func(i int) bool { _, ok := v.Since(uint64(i)); return ok })
	steps, _ := v.Since(uint64(first))
	return steps
}

// happened are the Events that a view tells, oldest first.
func (s *Server) happened(v *projection.View) []*corev1.Event {
	all := map[string]*corev1.Event{}
	steps := remembered(v)
	for i := range steps {
		for n := range steps[i].Commit.Events {
			if e := s.event(&steps[i], n); e != nil {
				count(e, all[e.Namespace+"/"+e.Name])
				all[e.Namespace+"/"+e.Name] = e
			}
		}
	}
	sorted := make([]*corev1.Event, 0, len(all))
	for _, e := range all {
		sorted = append(sorted, e)
	}
	slices.SortFunc(sorted, func(a, b *corev1.Event) int {
		return cmp.Or(len(a.ResourceVersion)-len(b.ResourceVersion), strings.Compare(a.ResourceVersion, b.ResourceVersion))
	})
	return sorted
}

// count makes e the next of its like.
func count(e, before *corev1.Event) {
	if before == nil {
		return
	}
	e.Count = before.Count + 1
	e.FirstTimestamp, e.CreationTimestamp, e.UID = before.FirstTimestamp, before.CreationTimestamp, before.UID
}

// happenings are the Events that a step of the view tells, after the index.
func (s *Server) happenings(v *projection.View, step *projection.Step, after uint64) []change {
	var all []change
	for i := range step.Commit.Events {
		index := step.First() + uint64(i)
		if index <= after {
			continue
		}
		if e := s.event(step, i); e != nil {
			c := change{index: index, after: e}
			if before := s.eventBefore(v, step.Commit.Events[i].Key, e, index); before != nil {
				count(e, before)
				c.before = before
			}
			all = append(all, c)
		}
	}
	return all
}

// eventBefore is the Event as it was before the event of the log with that index.
func (s *Server) eventBefore(v *projection.View, key string, e *corev1.Event, index uint64) *corev1.Event {
	var before *corev1.Event
	for _, step := range remembered(v) {
		for i := range step.Commit.Events {
			if step.First()+uint64(i) >= index {
				return before
			}
			if step.Commit.Events[i].Key != key {
				continue
			}
			if o := s.event(&step, i); o != nil && o.Name == e.Name {
				count(o, before)
				before = o
			}
		}
	}
	return before
}

// event is the i-th event of a step as Kubernetes' Event; nil for one that people need not be told of.
func (s *Server) event(step *projection.Step, i int) *corev1.Event {
	h := happen(step, i)
	if h == nil {
		return nil
	}
	c := step.Commit
	name := fnv.New64a()
	// With the fact itself: eventBefore looks for the one before among those of one key.
	fmt.Fprintf(name, "%s/%s/%s/%s/%s/%s", h.about.Kind, h.about.Namespace, h.about.Name, h.about.UID, h.reason, step.Commit.Events[i].Key)
	at := metav1.NewTime(wall(c.Time))
	e := &corev1.Event{
		TypeMeta: metav1.TypeMeta{Kind: "Event", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("%s.%016x", h.about.Name, name.Sum64()), Namespace: cmp.Or(h.about.Namespace, metav1.NamespaceDefault),
			UID: uidOf(c.ID(i)), CreationTimestamp: at, ResourceVersion: s.resourceVersion(step.First() + uint64(i)),
		},
		InvolvedObject: h.about, Reason: h.reason, Message: h.message, Type: corev1.EventTypeNormal, Count: 1,
		FirstTimestamp: at, LastTimestamp: at, Source: corev1.EventSource{Component: "podman-swarm", Host: c.Node},
		ReportingController: "podman-swarm", ReportingInstance: c.Node,
	}
	if h.warning {
		e.Type = corev1.EventTypeWarning
	}
	return e
}

func happen(step *projection.Step, i int) *happening {
	e := &step.Commit.Events[i]
	typ, namespace, name := manifest.SplitKey(e.Key)
	switch typ {
	case projection.PlacementType, projection.ReplicaType:
		return happenPod(step, e)
	case projection.HostType, projection.RecoveryType:
		return happenNode(step, e, name)
	case projection.NodeType, projection.MemberType:
		return happenSaid(step, e, name)
	case projection.SightType:
		return happenSight(step, name)
	case projection.ReadOnlyType, projection.ClockType, projection.BackupType, projection.ClashType:
		return happenAgent(step, e, typ, name)
	case projection.FindingType:
		return happenFinding(step, e, namespace, name)
	case projection.RestoreType:
		return happenRestore(step, e)
	}
	m, ok := manifest.ByType(typ)
	if !ok {
		return nil
	}
	h := &happening{about: corev1.ObjectReference{Kind: m.Kind, APIVersion: m.APIVersion(), Namespace: namespace, Name: name, UID: uidOf(e.UID)}}
	switch {
	case e.Object == nil:
		h.reason = "Deleted"
	case e.Base.IsZero():
		h.reason = "Created"
	default:
		h.reason = "Changed"
	}
	h.message = strings.TrimSuffix(h.reason+" by "+step.Commit.Actor+": "+step.Commit.Cause, ": ")
	return h
}

func happenPod(step *projection.Step, e *events.Event) *happening {
	pod, host, ok := projection.PodOf(e.Key)
	if !ok {
		return nil
	}
	h := &happening{about: corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name()}}
	for _, st := range []*projection.State{step.Before, step.After} {
		if p, err := st.Placement(pod); err == nil && p != nil {
			h.about.UID = podUID(p.UID, p.Host)
		}
	}
	if host == "" {
		p, ok := projection.Read[projection.Placement](step.After, e.Key)
		switch {
		case !ok:
			h.reason, h.message = "Killing", "the pod is over"
		case p.Host == "":
			h.reason, h.message, h.warning = "FailedScheduling", p.Why, true
		default:
			h.reason, h.message = "Scheduled", "placed on "+p.Host+": "+p.Why
		}
		return h
	}
	was, before := projection.Read[projection.Replica](step.Before, e.Key)
	is, ok := projection.Read[projection.Replica](step.After, e.Key)
	if !ok {
		h.reason, h.message = "Removed", "the container is gone from "+host
		return h
	}
	if !before || changed(&was, &is) {
		return h.container(&was, &is, host)
	}
	for _, name := range slices.Sorted(maps.Keys(is.Others)) {
		other := is.Others[name]
		of := was.Others[name]
		if h.about.FieldPath = "spec.containers{" + name + "}"; changed(&of, &other) && h.container(&of, &other, host) != nil {
			h.message = name + ": " + h.message
			if other.Phase == projection.Exited && other.Reason == "Completed" { // an init container is to do that
				h.warning = false
			}
			return h
		}
	}
	return nil
}

// changed reports whether there is news of a container.
func changed(was, is *projection.Replica) bool {
	return was.Phase != is.Phase || was.Reason != is.Reason || was.Container != is.Container || was.Restarts != is.Restarts
}

// container tells of one container of the pod what is so now and was not; nil when that is nothing to tell.
func (h *happening) container(was, is *projection.Replica, host string) *happening {
	switch {
	case is.Phase == projection.Running:
		h.reason, h.message = "Started", fmt.Sprintf("container %s runs on %s", short(is.Container), host)
		if is.Restarts > 0 {
			h.message += fmt.Sprintf(", restarted %d times", is.Restarts)
		}
		if is.Restarts > was.Restarts { // else the last run that ended is told of already
			h.message += ", the last time after exit code " + strconv.Itoa(is.ExitCode)
			if is.OOMKilled {
				h.message += ", " + killedForMemory
			}
			h.warning = is.ExitCode != 0 || is.OOMKilled
		}
	case is.Phase == projection.Exited:
		h.reason = cmp.Or(is.Reason, "Exited")
		h.message = cmp.Or(is.Message, fmt.Sprintf("container %s ended with exit code %d", short(is.Container), is.ExitCode))
		h.warning = is.ExitCode != 0 || is.OOMKilled || is.Reason != ""
		if is.OOMKilled && !strings.Contains(h.message, killedForMemory) { // what an earlier version recorded does not say it
			h.message += ", " + killedForMemory
		}
	case is.Reason != "":
		h.reason, h.message, h.warning = is.Reason, is.Message, !slices.Contains([]string{"ContainerCreating", "PodInitializing", "Pulling"}, is.Reason)
	default:
		return nil
	}
	return h
}

// killedForMemory says of a program that the kernel ended it, since it took more memory than it may: in the words of the facts themselves.
const killedForMemory = "killed for memory"

// short is the beginning of a container's id, as people know it.
func short(id string) string { return id[:min(len(id), 12)] }
