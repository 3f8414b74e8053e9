package api

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// informer keeps a copy of the Deployments by list and watch, as Kubernetes' clients do, over restarts of the agent.
type informer struct {
	mu      sync.Mutex
	version string
	objects map[string]string // replicas, by name
	lists   int
}

func (in *informer) run(ctx context.Context, c *client.Client) error {
	for {
		var list struct {
			Metadata struct{ ResourceVersion string }
			Items    []json.RawMessage
		}
		if err := c.Get(ctx, "/apis/apps/v1/deployments", nil, &list); err != nil {
			return err
		}
		in.mu.Lock()
		in.version, in.objects = list.Metadata.ResourceVersion, map[string]string{}
		in.lists++
		in.mu.Unlock()
		for _, o := range list.Items {
			in.take("ADDED", o)
		}
		err := c.Watch(ctx, "/apis/apps/v1/deployments", url.Values{}, list.Metadata.ResourceVersion, func(error) {}, func(e client.WatchEvent) error {
			in.take(e.Type, e.Object)
			return nil
		})
		if !client.IsGone(err) {
			return err
		}
	}
}

func (in *informer) take(typ string, raw json.RawMessage) {
	o := answer{body: raw}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.objects[o.field("metadata.name")] = o.field("spec.replicas"); typ == "DELETED" {
		delete(in.objects, o.field("metadata.name"))
	}
	in.version = o.field("metadata.resourceVersion")
}

func (in *informer) text() string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return fmt.Sprint(in.objects)
}

// A client that lists and watches ends with what there is, while many write, and without listing again.
func TestWatch_informer(t *testing.T) {
	seed := testSeed(t)
	a := start(t, t.TempDir())
	c, err := client.New(a.http.URL, "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	in := &informer{}
	ran := make(chan error, 1)
	go func() { ran <- in.run(ctx, c) }()
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(n)))
			for range 60 {
				name := fmt.Sprintf("d%d", rnd.IntN(8))
				switch rnd.IntN(4) {
				case 0:
					a.do("DELETE", deploymentsPath+"/"+name, "")
				case 1:
					a.do("PATCH", deploymentsPath+"/"+name, fmt.Sprintf(`{"spec":{"replicas":%d}}`, rnd.IntN(9)), asMerge)
				default:
					a.do("POST", apply, docs(deployment(name, rnd.IntN(9), "w"), deployment("all", rnd.IntN(99), "w")))
				}
			}
		})
	}
	wg.Wait()
	want := map[string]string{}
	got := a.want(200, "GET", "/apis/apps/v1/deployments", "")
	for i := 0; got.field(fmt.Sprintf("items.%d.kind", i)) != ""; i++ {
		want[got.field(fmt.Sprintf("items.%d.metadata.name", i))] = got.field(fmt.Sprintf("items.%d.spec.replicas", i))
	}
	deadline := time.Now().Add(patience)
	for in.text() != fmt.Sprint(want) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	if in.text() != fmt.Sprint(want) || in.lists != 1 {
		t.Errorf("after %d lists: got %s, want %v after 1", in.lists, in.text(), want)
	}
	cancel()
	<-ran
}

var firstSeed = flag.Uint64("seed", 0, "seed of the random tests; zero draws one")

// testSeed is the seed of a random test, which is printed when it fails.
func testSeed(t testing.TB) uint64 {
	t.Helper()
	s := cmp.Or(*firstSeed, rand.Uint64())
	t.Logf("seed %d: repeat with -seed %d", s, s)
	return s
}
