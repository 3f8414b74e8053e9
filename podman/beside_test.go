package podman_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
)

// What the original program left running is told of as long as it runs and its Deployment is declared, or was refused, and is never touched. Neither is anything else
// that is not ours, of which nothing is said.
func TestBeside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for _, name := range []string{"shop-web-1", "shop-web-0", "shop-web", "shop-web-01", "shop-web--1", "shop-1", "other-0", "web-2"} {
			w.foreign(name, map[string]string{"app": "web"})
		}
		w.foreign("shop-web-3", map[string]string{podman.LabelCluster: "another"})
		before := w.fake.Containers()
		w.place(host, template(), pod("web", 0))
		w.run()
		w.ready()
		w.settled(time.Minute)
		if got, instead := w.Beside(); len(got)+len(instead) != 0 {
			t.Errorf("nothing is declared: got %v, %v", got, instead)
		}
		w.record(projection.Change{Kind: events.Observed, Key: projection.RefusedKey(projection.DeploymentKey("default", "shop-web")), Object: []byte(`{}`)})
		w.settled(2 * time.Minute)
		if got, instead := w.Beside(); len(got) != 0 || !slices.Equal(instead, []string{"shop-web-0", "shop-web-1"}) {
			t.Errorf("it was refused: got %v, %v", got, instead)
		}
		if n := w.said.count("nothing takes their place"); n != 1 {
			t.Errorf("that nothing takes their place is said %d times", n)
		}
		declare := func(namespace, name string, object []byte) {
			w.record(projection.Change{Kind: events.Declared, Key: projection.DeploymentKey(namespace, name), Object: object})
		}
		declare("default", "shop-web", []byte(`{}`))
		declare("staging", "web", []byte(`{}`))
		w.settled(2 * time.Minute)
		if got, instead := w.Beside(); !slices.Equal(got, []string{"shop-web-0", "shop-web-1", "web-2"}) || len(instead) != 0 {
			t.Errorf("got %v, %v", got, instead)
		}
		if n := w.said.count("left running beside"); n != 1 {
			t.Errorf("that is said %d times", n)
		}
		w.fake.SetDown(true)
		w.settled(2 * time.Minute)
		if got, _ := w.Beside(); len(got) != 3 {
			t.Errorf("while Podman is away: got %v", got)
		}
		w.fake.SetDown(false)
		for _, c := range before {
			i := slices.IndexFunc(w.fake.Containers(), func(is podman.Container) bool {
				return is.ID == c.ID && is.Status == c.Status && is.Started.Equal(c.Started)
			})
			if i < 0 {
				t.Errorf("%s was touched", c.Name)
			}
		}
		w.fake.Exit("shop-web-0", 0) // as podman stop does
		declare("staging", "web", nil)
		w.settled(10 * time.Minute)
		if got, _ := w.Beside(); !slices.Equal(got, []string{"shop-web-1"}) {
			t.Errorf("one was stopped, and one Deployment deleted: got %v", got)
		}
	})
}
