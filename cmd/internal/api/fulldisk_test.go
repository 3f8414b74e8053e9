package api

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// fillable is a log whose disk is full when it is told so.
type fillable struct {
	*events.Log
	full atomic.Bool
}

func (l *fillable) Append(all []events.Entry) error {
	if l.full.Load() {
		return events.ErrFull
	}
	return l.Log.Append(all)
}

// onFullDisk is an agent on a ledger of its own that has recorded the changes. fill has its disk full, and admits what another
// host says then: two Deployments, p and q.
func onFullDisk(t *testing.T, changes ...func(*projection.State) []projection.Change) (a *agent, disk *fillable, fill func()) {
	t.Helper()
	peer := start(t, t.TempDir())
	peer.want(200, "POST", apply, docs(deployment("p", 1, "w"), deployment("q", 1, "w")))
	var said [][]byte
	if err := peer.log.Scan(1, func(r events.Record) error {
		said = append(said, bytes.Clone(r.Payload))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	peer.stop()
	log, err := events.Open(t.TempDir(), events.Options{MinFree: 1, Reserve: -1})
	if err != nil {
		t.Fatal(err)
	}
	disk = &fillable{Log: log}
	ledger, err := projection.OpenLedger(disk, nil, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- ledger.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ran, log.Close()); err != nil {
			t.Error(err)
		}
	})
	a = start(t, t.TempDir(), func(s *Server) { s.Ledger = ledger })
	a.want(200, "POST", apply, strings.Replace(deployment("a", 1, "w"), "replicas:", "minReadySeconds: 60\n  replicas:", 1))
	for _, c := range changes {
		if _, err := ledger.Record(ctx, projection.By{}, func(s *projection.State) ([]projection.Change, error) { return c(s), nil }); err != nil {
			t.Fatal(err)
		}
	}
	return a, disk, func() {
		end := log.End().Index
		disk.full.Store(true)
		if _, err := ledger.Admit(ctx, said); err != nil {
			t.Fatal(err)
		}
		if v := ledger.View(); v.Index() != end+2 || v.OnDisk().Index() != end {
			t.Fatalf("the state is at %d, and on disk at %d of %d", v.Index(), v.OnDisk().Index(), end)
		}
	}
}

// What the full disk did not take is lost with the agent, and other events get its indexes: until it is on disk none of it is shown.
func TestWatch_fullDisk(t *testing.T) {
	a, disk, fill := onFullDisk(t)
	fill()
	const list = "/apis/apps/v1/deployments"
	if o := a.want(200, "GET", list, ""); o.field("metadata.resourceVersion") != a.resourceVersion(1) || o.field("items.1.metadata.name") != "" {
		t.Errorf("listed is %s", o.body)
	}
	a.want(404, "GET", deploymentsPath+"/p", "")
	a.want(504, "GET", list+"?resourceVersionMatch=NotOlderThan&resourceVersion="+a.resourceVersion(3), "")
	a.follow(allDeployments+"&timeoutSeconds=1").wantEvents("ADDED a", "END")
	a.follow(allDeployments + "&timeoutSeconds=1&resourceVersion=" + a.resourceVersion(1)).wantEvents("END")

	w := a.follow(allDeployments + "&resourceVersion=" + a.resourceVersion(1))
	disk.full.Store(false) // it is tried again every second
	if o := w.wantEvents("ADDED p", "ADDED q"); o.field("metadata.resourceVersion") != a.resourceVersion(3) {
		t.Errorf("told is %s", o.body)
	}
	if n := disk.End().Index; n != 3 {
		t.Errorf("told before it is on disk: that has %d events", n)
	}
	if o := a.want(200, "GET", list, ""); o.field("metadata.resourceVersion") != a.resourceVersion(3) || o.field("items.2.metadata.name") != "q" {
		t.Errorf("listed is %s", o.body)
	}
}

// Time goes on while the disk is full: what changes by that alone is told.
func TestWatch_timePassesOnAFullDisk(t *testing.T) {
	pod := projection.Pod{Namespace: "default", Deployment: "a"}
	a, _, fill := onFullDisk(t, func(s *projection.State) []projection.Change {
		d, _ := s.Lookup(projection.DeploymentKey("default", "a"))
		return []projection.Change{{Kind: events.Decided, Key: pod.PlacementKey(), For: d.Stamp, Object: projection.Encode(projection.Placement{Host: "h1", Owner: d.UID})}}
	}, func(s *projection.State) []projection.Change {
		p, _ := s.Placement(pod)
		return []projection.Change{{Kind: events.Observed, Key: pod.ReplicaKey("h1"), Object: projection.Encode(projection.Replica{
			Placement: p.Event(), Phase: projection.Running, Started: time.Now().Add(-50 * time.Second)})}}
	})
	w := a.follow(allDeployments)
	fill()
	w.wantEvents("ADDED a")
	if o := w.wantEvents("MODIFIED a"); o.field("status.availableReplicas") != "1" || o.field("metadata.resourceVersion") != a.resourceVersion(3) {
		t.Errorf("told is %s", o.body)
	}
}

// Who wants what is so already is told an index that is on disk; and of what is not there yet, that the disk is full.
func TestApply_unchangedOnAFullDisk(t *testing.T) {
	a, disk, fill := onFullDisk(t)
	fill()
	same := strings.Replace(deployment("a", 1, "w"), "replicas:", "minReadySeconds: 60\n  replicas:", 1)
	if o := a.want(200, "POST", apply, same); o.field("index") != "1" || o.field("results.0.action") != "unchanged" {
		t.Errorf("applied again: %s", o.body)
	}
	if o := a.want(200, "PUT", deploymentsPath+"/a", string(a.want(200, "GET", deploymentsPath+"/a", "").body)); o.field("metadata.resourceVersion") != a.resourceVersion(1) {
		t.Errorf("put again: %s", o.body)
	}
	a.want(507, "POST", apply, deployment("p", 1, "w"))
	const hosts = "/api/v1/dns/whitelist"
	if o := a.want(200, "PUT", hosts, `{"hosts":[]}`); o.field("index") != "1" || o.field("changed") != "false" {
		t.Errorf("the list of names said again: %s", o.body)
	}
	if o := a.want(200, "DELETE", deploymentsPath+"?labelSelector=app%3Dnone", ""); o.field("metadata.resourceVersion") != a.resourceVersion(1) {
		t.Errorf("none is deleted: %s", o.body)
	}
	w := a.follow(allDeployments + "&resourceVersion=" + a.resourceVersion(1))
	disk.full.Store(false)
	w.wantEvents("ADDED p", "ADDED q")
	if o := a.want(200, "POST", apply, deployment("p", 1, "w")); o.field("index") != "3" || o.field("results.0.action") != "unchanged" {
		t.Errorf("applied once it is on disk: %s", o.body)
	}
}
