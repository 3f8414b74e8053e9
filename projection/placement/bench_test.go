package placement

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// BenchmarkDecider_one is how long it takes to decide about one new Deployment of three replicas, in a cluster that runs
// 10,000 on 50 hosts: what the loop does from the event to the changes, without the log.
func BenchmarkDecider_one(b *testing.B) {
	near := pods(func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{
			{LabelSelector: selector("new"), TopologyKey: hostname}}}}
	})
	for _, c := range []struct {
		name string
		edit func(*appsv1.Deployment)
	}{{"plain", func(*appsv1.Deployment) {}}, {"hostPort", port(7, "")}, {"antiAffinity", near}} {
		b.Run(c.name, func(b *testing.B) {
			h, l := full(b, 10_000, 50)
			h.deploy("new", 3, requests("10m", "1Mi"), c.edit)
			l.follow()
			dep := deployment{"default", "new"}
			for b.Loop() {
				l.look(false)
				if changes, _ := l.changes(l.view.State, []deployment{dep}); len(changes) != 3 {
					b.Fatalf("%d changes", len(changes))
				}
			}
		})
	}
}

// BenchmarkDecide is the same from nothing but the state.
func BenchmarkDecide(b *testing.B) {
	h, _ := full(b, 10_000, 50)
	h.deploy("new", 3, requests("10m", "1Mi"))
	for b.Loop() {
		if changes, _, err := Decide(h.View().State, h.cluster(), "default", "new"); err != nil || len(changes) != 3 {
			b.Fatal(len(changes), err)
		}
	}
}

// BenchmarkDecider_hostGone is how long it takes to move all replicas of one host of 50.
func BenchmarkDecider_hostGone(b *testing.B) {
	h, l := full(b, 10_000, 50)
	var others []string
	for i := 1; i < 50; i++ {
		others = append(others, fmt.Sprintf("host-%02d", i))
	}
	others = append(others, "h")
	h.hear(others...)
	h.later(-time.Hour)
	gone := *h.as
	for i := range gone.Peers {
		if p := &gone.Peers[i]; !p.Silent.IsZero() {
			p.Silent = p.Silent.Add(-time.Hour)
		}
	}
	l.peers = gone.Peers
	l.look(false)
	deps := l.given.placedOn("host-00")
	var part []deployment
	for d := range deps {
		part = append(part, d)
	}
	for b.Loop() {
		if changes, _ := l.changes(l.view.State, part); len(changes) < len(part) {
			b.Fatalf("%d changes for %d Deployments", len(changes), len(part))
		}
	}
	b.ReportMetric(float64(len(part)), "replicas")
}

// full is a cluster that runs n Deployments of one replica each, and a loop that has seen it.
func full(b *testing.B, n, hosts int) (*house, *loop) {
	names := []string{"h"}
	for i := range hosts {
		names = append(names, fmt.Sprintf("host-%02d", i))
	}
	h := newCluster(b, names...)
	for _, name := range names {
		h.host(name, func(f *projection.Host) { f.CPUs, f.Memory = 64, 512<<30 })
	}
	h.node("h", func(n *projection.Node) { n.Unschedulable = true })
	var all []projection.Change
	for i := range n {
		all = append(all, declare(b, "default", fmt.Sprintf("app-%d", i), 1, requests("10m", "1Mi")))
	}
	h.record(all...)
	l := newLoop(&Decider{Ledger: h.Ledger, Host: "h", Log: slog.New(slog.DiscardHandler),
		Peers: func() ([]Peer, <-chan struct{}) { return h.as.Peers, nil }})
	l.follow()
	if err := l.decide(b.Context()); err != nil {
		b.Fatal(err)
	}
	l.follow()
	if len(l.given.slots) != n {
		b.Fatalf("%d are placed, want %d", len(l.given.slots), n)
	}
	return h, l
}
