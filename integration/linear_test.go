package integration

import (
	"cmp"
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/linear"
	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
)

var firstSeed = flag.Uint64("seed", 0, "seed of the random tests; zero draws one")

// What clients do at the same time to one object has one order that explains all answers, over kills too.
func TestAgent_linearizable(t *testing.T) {
	a := newAgent(t, podmanhost.Start(t), t.TempDir())
	a.Args = []string{"--recovery-delay", "0s"}
	up(t, a)
	seed := cmp.Or(*firstSeed, rand.Uint64())
	t.Logf("seed %d: repeat with -seed %d", seed, seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	clients := linear.New("linear", 6, 3, 2*time.Millisecond, seed)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asking sync.WaitGroup
	asking.Go(func() { clients.Run(ctx, a.Client(), a.URL()) })
	for range 4 {
		until := time.NewTimer(time.Duration(200+rnd.IntN(500)) * time.Millisecond)
		<-until.C
		must(t, a.Kill())
		up(t, a)
	}
	last := time.NewTimer(300 * time.Millisecond)
	<-last.C
	cancel()
	asking.Wait()
	answered, unanswered := clients.Answered()
	t.Logf("%d requests with an answer, %d without", answered, unanswered)
	if answered < 100 || unanswered == 0 {
		t.Errorf("%d requests with an answer and %d without say too little", answered, unanswered)
	}
	if err := clients.Check(30*time.Second, ""); err != nil {
		t.Error(err)
	}
}
