package podman

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// Ledger is what the Reconciler needs of the ledger; *projection.Ledger is one.
type Ledger interface {
	View() *projection.View
	Record(context.Context, projection.By, func(*projection.State) ([]projection.Change, error)) (projection.Receipt, error)
}

// Reconciler makes the containers of one host what the placements say, and records what it sees of them. It is the
// only one that starts and stops them, for as long as Run runs; that it ends stops none.
//
// Its fields must be set before Run and not changed afterwards. Its methods may be called from any goroutine at any
// time, before, during and after Run.
type Reconciler struct {
	Engine  Engine
	Ledger  Ledger
	Host    string        // name of this host
	Cluster string        // name of the cluster; "" means "default"
	Boot    string        // of this host, as projection.Replica.Boot; "" when it is not known
	Every   time.Duration // how often all containers are listed, whatever Podman's events say; 0 means 10s
	// Settle returns once this host has heard enough of the others to act on what it knows, and knows what its containers are to ask for
	// names; its error ends Run. nil does not wait. Until then nothing is started, made or removed.
	Settle func(context.Context) error
	// Resolver is asked, for each container that is made, where that is to ask for names, unless it is told otherwise (dnsPolicy);
	// the zero Addr, and nil: where the host does. Containers that are there keep what they were made with.
	Resolver func() netip.Addr
	// Values are those of a Secret, open, or of a ConfigMap, as they are now, for the containers that take them: the only thing that this package
	// knows of where they come from. binary is the binaryData, of which no variable is made. The error wraps fs.ErrNotExist where there is no such
	// object, and is for people: it has no value in it. It may be called from many goroutines.
	// nil: who takes any is not made.
	Values func(namespace, kind, name string) (data, binary map[string][]byte, err error)
	// Files is a folder in memory that no other agent has, with the volumes of Secrets and ConfigMaps in it; it is made, for this agent's user alone, when there are any.
	Files string
	Begun projection.Recovery // what was done before Run: Started, Replayed and its Seconds
	// Tell returns once the report of the recovery may be recorded, with how many starts before this one no event tells of; false when it may
	// not be any more, since ctx has ended. nil: it may be at once.
	Tell func(context.Context) (more int, may bool)
	Log  *slog.Logger // nil: nothing is said
	// Observe, if not nil, is told how long it took to do all the steps of one replica, and how that ended. It is called
	// from many goroutines.
	Observe func(time.Duration, error)

	stats           Stats
	mu              sync.Mutex
	public          public
	beside, instead []string // what Beside gives; replaced, never changed in place
}

// Stats counts what the Reconciler has done. It goes on counting.
type Stats struct {
	Passes   atomic.Uint64 // lists of all containers
	Errors   atomic.Uint64 // lists and turns that ended in an error
	Created  atomic.Uint64 // containers
	Started  atomic.Uint64 // containers, new ones and restarts included
	Restarts atomic.Uint64 // of containers that had exited
	Removed  atomic.Uint64 // containers
}

// Stage is how far a recovery has come.
type Stage string

// The stages, in order.
const (
	Adopting Stage = "adopt"  // looking for what runs as recorded
	Settling Stage = "settle" // waiting to hear from the other hosts
	Acting   Stage = "act"    // starting, making and removing
	Ready    Stage = "ready"  // done
)

// Progress is what a Reconciler says of itself, for people.
type Progress struct {
	Stage   Stage                    // "" before Run
	Podman  string                   // what is wrong with Podman, in its own words; "" when it answers
	Since   time.Time                // since when it does not answer
	Waiting []string                 // what holds the recovery up: "podman", "settle", or pods as NAMESPACE/NAME
	Phases  map[projection.Phase]int // of the replicas placed here
	Looping int                      // of these, how many wait since they ended shortly after their start, again and again
}

// public is what others may look at while Run runs. All of it is replaced, never changed in place.
type public struct {
	report   projection.Recovery
	progress Progress
	orphans  []Orphan
}

// Wait is a Settle that waits for d.
func Wait(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Run recovers, and then keeps the containers what the state says until ctx ends; then it is nil. It stops no
// container, and returns once no request to Podman is under way. It must be called once.
//
// A crash leaves what Podman was doing. The next Run finds it by its labels.
func (r *Reconciler) Run(ctx context.Context) error { return newLoop(r).run(ctx) }

// Stats gives the counters, which go on counting.
func (r *Reconciler) Stats() *Stats { return &r.stats }

// Recovering reports whether the recovery is still going on, or has not begun.
func (r *Reconciler) Recovering() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.public.progress.Stage != Ready
}

// Report is the report of the recovery, as far as it has come; Done is zero while it goes on.
func (r *Reconciler) Report() projection.Recovery {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.public.report
}

// Progress says how things are going.
func (r *Reconciler) Progress() Progress {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.public.progress
}

// Orphans are the containers of ours that nothing explains, by name.
func (r *Reconciler) Orphans() []Orphan {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.public.orphans)
}

func (r *Reconciler) owner() owner {
	o := owner{r.Cluster, r.Host}
	if o.cluster == "" {
		o.cluster = "default"
	}
	return o
}

func (r *Reconciler) every() time.Duration {
	if r.Every == 0 {
		return 10 * time.Second
	}
	return r.Every
}
