package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// nodeEvents are the Events of Nodes, as a watch tells of them.
type nodeEvents struct {
	*agent
	w    *watcher
	told map[string]string // by name
}

func (a *agent) nodeEvents() *nodeEvents {
	a.t.Helper()
	return &nodeEvents{a, a.follow("/api/v1/events?watch=true&fieldSelector=involvedObject.kind%3DNode"), map[string]string{}}
}

// observe records a fact.
func (n *nodeEvents) observe(key string, fact any) {
	n.t.Helper()
	n.record(projection.Change{Kind: events.Observed, Key: key, Object: projection.Encode(fact)})
}

// want checks what is told next.
func (n *nodeEvents) want(lines ...string) {
	n.t.Helper()
	for _, want := range lines {
		typ, o := n.w.event()
		var e corev1.Event
		if err := json.Unmarshal(o.body, &e); err != nil {
			n.t.Fatal(err)
		}
		typ, _, _ = strings.Cut(typ, " ")
		got := asLine(&e)
		if _, known := n.told[e.Name]; typ+" "+got != map[bool]string{true: "MODIFIED ", false: "ADDED "}[known]+want {
			n.t.Errorf("got  %s %s\nwant %s", typ, got, want)
		}
		n.told[e.Name] = got
	}
}

// listed checks that a list has the same.
func (n *nodeEvents) listed() {
	n.t.Helper()
	var list corev1.EventList
	if err := json.Unmarshal(n.agent.want(200, "GET", "/api/v1/events?fieldSelector=involvedObject.kind%3DNode", "").body, &list); err != nil {
		n.t.Fatal(err)
	}
	for i := range list.Items {
		e := &list.Items[i]
		if got := asLine(e); n.told[e.Name] != got {
			n.t.Errorf("the list has\n%s\nand the watch told\n%s", got, n.told[e.Name])
		}
		if node := n.do("GET", "/api/v1/nodes/"+e.InvolvedObject.Name, ""); node.code == 200 && node.field("metadata.uid") != string(e.InvolvedObject.UID) {
			n.t.Errorf("%s is not of the Node: %s", e.Reason, e.InvolvedObject.UID)
		}
	}
	if len(list.Items) != len(n.told) {
		n.t.Errorf("the list has %d, and the watch told of %d", len(list.Items), len(n.told))
	}
}

// asLine is an Event of a Node in one line.
func asLine(e *corev1.Event) string {
	return fmt.Sprintf("%s %s %s x%d: %s", e.InvolvedObject.Name, e.Type, e.Reason, e.Count, e.Message)
}

// Who has joined, is silent, is back or is removed is told by kubectl get events as well: each once, and with a warning where a person has to look.
func TestEvents_ofHosts(t *testing.T) {
	n := start(t, t.TempDir()).nodeEvents()
	at := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	host := func(left time.Time) projection.Host {
		return projection.Host{CPUs: 1, Version: "v1", Podman: "5.4.0", Started: at, Left: left}
	}
	for _, name := range []string{"h1", "h2", "h3"} {
		n.say(name, host(time.Time{}))
	}
	n.want("h1 Normal Starting x1: agent v1", "h2 Normal Joined x1: is a host of the cluster, with agent v1", "h3 Normal Joined x1: is a host of the cluster, with agent v1")
	n.silence("h2", "h3")
	n.want("h1 Warning PeerSilent x1: host h2 has been silent since 2026-01-21 12:00:00 UTC; host h3 has been silent since 2026-01-21 12:00:00 UTC")
	n.observe(projection.SightKey("h1"), projection.Sight{Silent: map[string]time.Time{"h3": at}, Recovering: []string{"h2"}})
	n.want("h1 Normal PeerReturned x1: host h2 is heard again, and recovers")
	n.silence("h3") // it has recovered, and tells so itself
	n.say("h2", host(at))
	n.silence("h2", "h3")
	n.want("h1 Normal PeerSilent x2: the agent of host h2 was stopped at 2026-01-21 12:00:00 UTC; its containers run on, and nobody looks after them")
	n.record(projection.Change{Kind: events.Trust, Key: projection.MemberKey("h3"), Object: projection.Encode(projection.Member{Removed: true})})
	n.want("h3 Warning Removed x1: by test")
	n.silence("h2") // who was removed has not come back
	n.silence()
	n.want("h1 Normal PeerReturned x2: host h2 is heard again")
	n.say("h2", projection.Host{CPUs: 1, Version: "v2", Podman: "5.4.0", Started: at.Add(time.Hour)})
	n.want("h2 Normal Starting x1: agent v2")
	n.listed()
}

// So is what agents tell of themselves, and of the logs of others; of whom each is, is who a person has to look at.
func TestEvents_ofAgents(t *testing.T) {
	n := start(t, t.TempDir()).nodeEvents()
	n.join("h1", "h2")
	n.want("h1 Normal Starting x1: agent v1", "h2 Normal Joined x1: is a host of the cluster, with agent v1")
	at := time.Date(2026, 1, 21, 12, 0, 0, 0, time.UTC)
	n.observe(projection.ReadOnlyKey("h1"), projection.ReadOnly{Since: at, Until: at.Add(time.Minute), Why: "the disk is full"})
	n.observe(projection.ClockKey("h1"), projection.Clocks{Off: map[string]string{"h3": "-7.1s", "h2": "30s"}})
	n.observe(projection.ClockKey("h1"), projection.Clocks{})
	n.observe(projection.BackupKey("h1"), projection.Backups{Name: "state-backup-1.json", Bytes: 1234})
	n.observe(projection.BackupKey("h1"), projection.Backups{Name: "state-backup-2.json.age", Bytes: 99, Sealed: true, Pinned: true, More: 3})
	n.observe(projection.BackupKey("h1"), projection.Backups{Name: "state-backup-3.json", Bytes: 5, Brought: true})
	n.observe(projection.BackupKey("h1"), projection.Backups{Removed: []string{"state-backup-1.json", "state-backup-3.json"}, More: 5})
	n.want("h1 Warning ReadOnly x1: its log took nothing from 2026-01-21 12:00:00 UTC to 2026-01-21 12:01:00 UTC: the disk is full",
		"h1 Warning ClocksDiffer x1: clocks differ from its own: that of host h2 by 30s, that of host h3 by -7.1s",
		"h1 Normal ClocksAgree x1: no host's clock differs much from its own any more",
		"h1 Normal BackupMade x1: state-backup-1.json, 1234 bytes",
		"h1 Normal BackupMade x2: state-backup-2.json.age, 99 bytes, sealed, pinned; 3 others were made since the one told of before",
		"h1 Normal BackupBrought x1: state-backup-3.json, 5 bytes",
		"h1 Normal BackupsRemoved x1: 7, the first state-backup-1.json")

	n.observe(projection.ClashKey("h1"), projection.Clash{Lost: []projection.LostChange{{Key: "service/default/a"}}})
	lost := projection.Clash{More: 4}
	for i := range 6 {
		lost.Lost = append(lost.Lost, projection.LostChange{Key: fmt.Sprintf("service/default/s%d", i)})
	}
	n.observe(projection.ClashKey("h1"), lost)
	n.want("h1 Warning Conflict x1: changes that were made here lost against others that had not seen them: service/default/a; psctl conflicts",
		"h1 Warning Conflict x2: changes that were made here lost against others that had not seen them: service/default/s0, service/default/s1, "+
			"service/default/s2, service/default/s3, service/default/s4 and 5 more; psctl conflicts")

	n.observe(projection.FindingKey("h1", "h2"), projection.Finding{Incarnation: 0xa1, First: 58, Had: 90, Has: 57})
	n.observe(projection.FindingKey("h3", "h2"), projection.Finding{Incarnation: 0xa1, First: 58, Had: 80, Has: 57}) // by another: its own word
	n.observe(projection.FindingKey("h1", "h2"), projection.Finding{Incarnation: 0xa1, First: 7})
	const back = "and came back with 57, as host %s found: the disk was put back or lost, or the log was cut"
	n.want("h2 Warning DiskPutBack x1: its log had events up to 90 of incarnation 00000000000000a1, "+fmt.Sprintf(back, "h1"),
		"h2 Warning DiskPutBack x1: its log had events up to 80 of incarnation 00000000000000a1, "+fmt.Sprintf(back, "h3"),
		"h2 Warning LogChanged x1: its log is not what it was from event 7 of incarnation 00000000000000a1 on: host h1 holds others in their place")

	for _, id := range []string{"1", "2"} { // two of them are two Events
		r := projection.Restore{Host: "h1", From: "b.json", Before: "before.json", Count: 4}
		n.observe(projection.RestoreKey(id), r)
		n.observe(projection.RestoreKey(id), r) // on its way
		r.Count, r.Done = 9, at
		n.observe(projection.RestoreKey(id), r)
		n.observe(projection.RestoreKey(id), r)
		n.want("h1 Normal Restoring x1: by test", "h1 Normal Restored x1: 9 objects, by test; what was there before is in before.json")
	}
	for _, key := range []string{projection.ReadOnlyKey("h1"), projection.FindingKey("h1", "h2"), projection.RestoreKey("3")} { // nothing that can be read
		n.record(projection.Change{Kind: events.Observed, Key: key, Object: []byte(`{"since":1,"at":1,"asked":1}`)})
	}
	n.record(projection.Change{Kind: events.Observed, Key: projection.ClockKey("h1")}) // it is ended
	n.listed()
}
