// Package apitest runs an agent without Podman for the tests of its clients: a real log, ledger, placement and API,
// and a host that only says that it runs what it is given.
//
// What becomes of a replica is told by its image: one with "missing" in its name cannot be pulled, one with "crash"
// in it ends with exit code 7 each time, one with "slow" in it is never done pulling, and any other runs at once.
package apitest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/placement"
	"github.com/podman-swarm/podman-swarm/projection/secret"
	"github.com/podman-swarm/podman-swarm/snapshot"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// Node is the name of the host.
const Node = "host1"

// Agent is a running agent. Its methods may be called from any goroutine.
type Agent struct {
	dir     string
	addr    string
	sealFor seal.For

	mu         sync.Mutex
	recovering string
	refusals   int // to come, while it recovers
	orphans    []api.Orphan
	others     []string          // the hosts that have joined
	silent     []string          // of them
	unmoved    map[string]string // by pod: why it cannot be moved

	increments *snapshot.Increments
	forgets    bool // its log tells of no moment any more

	spawn  func(func(context.Context) error) // has something go on until the agent stops
	ledger *projection.Ledger

	log  *events.Log
	stop context.CancelFunc
	done chan error
}

// Start starts an agent on the log in dir, new if there is none, on a free port. It answers when Start returns.
func Start(dir string) (*Agent, error) {
	a := &Agent{dir: dir, addr: "127.0.0.1:0"}
	return a, a.Start()
}

// URL is where it answers.
func (a *Agent) URL() string { return "http://" + a.addr }

// Start starts an agent that was stopped, on the same log and port.
func (a *Agent) Start() error {
	log, err := events.Open(filepath.Join(a.dir, "events"), events.Options{Reserve: -1, MinFree: 1, Machine: "test"})
	if err != nil {
		return err
	}
	ledger, err := projection.OpenLedger(log, nil, 1, nil)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	ledger.Node = Node
	l, err := net.Listen("tcp", a.addr)
	if err != nil {
		return errors.Join(err, log.Close())
	}
	a.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	quiet := slog.New(slog.DiscardHandler)
	h := &host{ledger: ledger, name: Node, mute: a.isSilent}
	a.ledger, a.log = ledger, log
	a.spawn = func(run func(context.Context) error) { g.Go(func() error { return closedIsNil(run(ctx)) }) }
	g.Go(func() error { return ledger.Run(ctx) })
	g.Go(func() error { return a.server(log, ledger).Serve(ctx, l) })
	g.Go(func() error {
		d := placement.Decider{Ledger: ledger, Host: Node, Log: quiet}
		return closedIsNil(d.Run(ctx))
	})
	g.Go(func() error { return closedIsNil(h.run(ctx)) })
	a.stop, a.done = stop, make(chan error, 1)
	go func() { a.done <- errors.Join(g.Wait(), log.Close()) }()
	return h.say(ctx, h.self)
}

func closedIsNil(err error) error {
	if errors.Is(err, projection.ErrClosed) {
		return nil
	}
	return err
}

// Stop ends the agent, if it runs. When it returns, the log is closed and nothing answers.
func (a *Agent) Stop() error {
	if a.stop == nil {
		return nil
	}
	a.stop()
	a.stop = nil
	return <-a.done
}

// Recover makes the agent say that it recovers, and why, and refuse so many changes before that ends.
func (a *Agent) Recover(why string, refusals int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.recovering, a.refusals = why, refusals
}

// SealFor has backups be sealed for a public key, of whose secret half the agent knows nothing, from its next Start on.
func (a *Agent) SealFor(recipient string) error { return a.sealFor.Add(recipient) }

// Spoil flips a bit of the oldest backup.
func (a *Agent) Spoil() error {
	names, err := filepath.Glob(filepath.Join(a.dir, "backups", "*.json*"))
	names = slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, ".about") })
	if err != nil || len(names) == 0 {
		return errors.Join(err, errors.New("no backup to spoil"))
	}
	b, err := os.ReadFile(names[0])
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(names[0], b, 0o640)
}

// Orphan adds a container that nothing explains.
func (a *Agent) Orphan(id, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.orphans = append(a.orphans, api.Orphan{ID: id, Name: name, Key: "default/" + name, State: "running",
		Image: "localhost/web:1", Why: "no event of this log created it", Created: time.Now().Add(-time.Hour)})
}

// Increment has the increments be brought to where the log is.
func (a *Agent) Increment() error { return a.increments.Once(context.Background()) }

// Forget has the log of the agent tell of no moment any more from its next Start on, as one that was trimmed of them.
func (a *Agent) Forget() { a.forgets = true }

// at is the state at a moment.
func (a *Agent) at(folds *snapshot.Folds) func(context.Context, snapshot.Moment) (*projection.State, error) {
	if a.forgets {
		return func(context.Context, snapshot.Moment) (*projection.State, error) { return nil, events.ErrTrimmed }
	}
	return folds.At
}

func (a *Agent) server(log *events.Log, ledger *projection.Ledger) *api.Server {
	quiet := slog.New(slog.DiscardHandler)
	backups := &snapshot.Backups{Dir: filepath.Join(a.dir, "backups"), Cluster: "default", Node: Node, Agent: "v9.9.9", Ledger: ledger,
		Keep: snapshot.Keep{Last: 2}, For: a.sealFor, Log: quiet}
	a.increments = &snapshot.Increments{Backups: backups, Source: log, Every: time.Hour, Log: quiet}
	backups.Of = a.increments.Find
	folds := &snapshot.Folds{Dir: filepath.Join(a.dir, "events"), Source: log, Log: quiet}
	secrets, err := secret.NewKeys(make([]byte, secret.KeyBytes)) // the same after each start
	if err != nil {
		panic(err) // it has another length only if somebody changed this line
	}
	return &api.Server{
		At:     a.at(folds),
		Ledger: ledger, Node: Node, Epoch: func() uint64 { return api.EpochOf(log.Incarnation()) }, Version: "v9.9.9",
		Recovering: func() (bool, string) {
			a.mu.Lock()
			defer a.mu.Unlock()
			return a.recovering != "", a.recovering
		},
		Refusing: func() string {
			a.mu.Lock()
			defer a.mu.Unlock()
			why := a.recovering
			if a.refusals--; a.refusals <= 0 {
				a.recovering = ""
			}
			return why
		},
		Recovery: func() projection.Recovery {
			began := time.Now().Add(-time.Minute)
			return projection.Recovery{Started: began, Done: began.Add(1500 * time.Millisecond), Replayed: 42, Adopted: 2, Created: 1,
				Seconds: map[string]float64{"replay": 0.01, "settle": 1, "adopt": 0.2, "act": 0.29}}
		},
		Document: func(s *projection.State) any {
			var b bytes.Buffer
			if err := snapshot.WriteDocument(&b, "host1", s); err != nil {
				panic(err)
			}
			return json.RawMessage(b.Bytes())
		},
		Events: func(ctx context.Context, after uint64, fn func(events.Record) error) error {
			return log.Replay(1, func(r events.Record) error {
				if r.Index+uint64(r.Count) <= after+1 {
					return nil
				}
				return fn(r)
			})
		},
		Logs:    a.logs,
		Cluster: a.cluster,
		Spread:  a.spread,
		Orphans: orphans{a},
		Secrets: secrets,
		Trail:   trail{a.dir},
		Backups: backups, Restorer: &snapshot.Restorer{Ledger: ledger, Backups: backups, Increments: a.increments, Log: quiet,
			Opened: filepath.Join(a.dir, "opened"), At: a.at(folds)},
		Health: func() api.Health { return api.Health{Snapshot: time.Now().Add(-time.Second)} },
	}
}

// logs gives every container the same five lines, and with Follow a sixth and no end.
func (a *Agent) logs(ctx context.Context, _, container string, o api.LogOptions) (io.ReadCloser, error) {
	lines := [][]byte{}
	for i := 1; i <= 5; i++ {
		lines = append(lines, fmt.Appendf(nil, "line %d of %s\n", i, container[:8]))
	}
	if o.Tail >= 0 {
		lines = lines[max(0, len(lines)-int(o.Tail)):]
	}
	text := bytes.Join(lines, nil)
	if !o.Follow {
		return io.NopCloser(bytes.NewReader(text)), nil
	}
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { w.CloseWithError(io.EOF) })
	go func() {
		_, _ = w.Write(append(text, "written later\n"...)) // fails when nobody reads any more
	}()
	return r, nil
}

// orphans are the orphans as the API wants them.
type orphans struct{ *Agent }

func (o orphans) List(context.Context) ([]api.Orphan, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.Agent.orphans), nil
}

func (o orphans) Adopt(ctx context.Context, by projection.By, id string) error {
	return o.drop(ctx, by, id)
}
func (o orphans) Remove(ctx context.Context, by projection.By, id string) error {
	return o.drop(ctx, by, id)
}

// drop ends an orphan, and records by whom and why, as the agent does with either.
func (o orphans) drop(ctx context.Context, by projection.By, id string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := slices.IndexFunc(o.Agent.orphans, func(x api.Orphan) bool { return x.ID == id })
	if i < 0 {
		return fmt.Errorf("orphan %s: %w", id, fs.ErrNotExist)
	}
	fact := projection.Encode(map[string]string{"name": o.Agent.orphans[i].Name})
	_, err := o.ledger.Record(ctx, by, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{{Kind: events.Observed, Key: "orphan/" + Node + "/" + id, Object: fact}}, nil
	})
	if err == nil {
		o.Agent.orphans = slices.Delete(o.Agent.orphans, i, i+1)
	}
	return err
}

// Rival has another host have changed a declared object too, without knowing of its last change, and lose: what it says has new in the
// place of old.
func (a *Agent) Rival(key, old, new string) error {
	o, ok := a.ledger.View().Lookup(key)
	if !ok || o.Base.IsZero() {
		return fmt.Errorf("%s: it has not been changed", key)
	}
	const inc = 77
	head := a.ledger.View().Head(inc)
	object := bytes.ReplaceAll(o.Version.Object, []byte(old), []byte(new))
	c := events.Commit{Inc: inc, Seq: head.Seq + 1, Prev: head.Hash, Time: o.Base.Time + 1, Node: "host2", Actor: "local psctl (bob)", Cause: "psctl apply -f his.yaml",
		Events: []events.Event{{Kind: events.Declared, Key: key, UID: o.UID, Base: o.Base, Object: object}}}
	b, err := c.Append(nil)
	if err != nil {
		return err
	}
	_, err = a.ledger.Admit(context.Background(), [][]byte{b})
	return err
}

// Interrupt has a restore from a backup begun, under that id, and stopped before it changed anything.
func (a *Agent) Interrupt(id, backup string) error {
	fact := projection.Restore{Host: Node, From: backup, Before: backup, Asked: time.Now()}
	_, err := a.ledger.Record(context.Background(), projection.By{Actor: "agent"}, func(*projection.State) ([]projection.Change, error) {
		return []projection.Change{{Kind: events.Observed, Key: projection.RestoreKey(id), Object: projection.Encode(fact)}}, nil
	})
	return err
}
