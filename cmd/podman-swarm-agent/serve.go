package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/cmd/internal/sockets"
	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
	"github.com/podman-swarm/podman-swarm/cmd/internal/tracing"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/podman"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/placement"
	"github.com/podman-swarm/podman-swarm/projection/secret"
	"github.com/podman-swarm/podman-swarm/snapshot"
)

// agent is all the parts of one host. They meet here and nowhere else.
type agent struct {
	c          *config
	log        *slog.Logger
	metrics    *metrics
	events     *events.Log
	history    *snapshot.History // with what was trimmed off it
	ledger     *projection.Ledger
	tail       *tail.Tail
	audit      *audit
	told       *told // nil: no --nats-addr
	view       *snapshot.View
	folds      *snapshot.Folds
	backups    *snapshot.Backups
	restorer   *snapshot.Restorer
	archive    archive
	found      bool          // a backup stands where state.json should, to be restored
	restored   chan struct{} // closed once none does
	engine     *podman.Client
	reconciler *podman.Reconciler
	listener   net.Listener
	tls        net.Listener // of the API; nil: none
	cluster    cluster
	services   services
	secrets    *secret.Keys
	starts     *starts
	now        func() time.Time
	heard      chan struct{} // closed once this host may act
	waiting    atomic.Value  // what it waits for before that, a string
	unrestored atomic.Value  // why what is to be restored is not yet, a string
	started    time.Time
	boot       string                        // of this host, as projection.Replica.Boot
	empty      bool                          // the log was, at the start
	spans      atomic.Pointer[tracing.Spans] // nil: nobody wants traces, or not yet
}

func newAgent(c *config, log *slog.Logger) *agent {
	return &agent{c: c, log: log, metrics: newMetrics(), engine: &podman.Client{URL: c.podman}, heard: make(chan struct{}), restored: make(chan struct{}),
		started: time.Now(), boot: bootID(), now: wallClock()}
}

// serve runs the agent until ctx ends, and leaves the containers running. When it returns nil, every commit that
// was acknowledged is on disk, and state.json says what the log does.
func serve(ctx context.Context, c *config, log *slog.Logger) error {
	a := newAgent(c, log)
	var err error
	if a.services.sockets, err = sockets.Open(a.part("sockets")); err != nil {
		return err
	}
	log.Info("starting Podman Swarm agent", "node", c.NodeName, "version", version, "data_dir", c.DataDir)
	if err := a.open(ctx); err != nil {
		if a.ledger == nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			log.Info("stopped before it had read what it has; containers run on")
			return nil
		}
		return err
	}
	err = a.run(ctx)
	if a.cluster.mesh != nil {
		err = errors.Join(err, a.cluster.mesh.Close())
	}
	if cerr := a.events.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		log.Info("stopped; containers run on", "index", a.events.End().Index)
	}
	return err
}

// open takes the log, folds it and binds the API's port: everything that can be refused before anything is done.
func (a *agent) open(ctx context.Context) (err error) {
	dir := filepath.Join(a.c.DataDir, "events") // with which the data dir is made, durably
	key, err := a.key()
	if err != nil {
		return err
	}
	a.events, err = events.Open(dir, events.Options{Machine: machineID(), Key: key, Log: a.part("log"), Observe: a.metrics.observe})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.events.Close())
		}
	}()
	if err := finishReseal(keyring{a.c.DataDir, a.c.credentials}, key); err != nil {
		return err
	}
	a.history = &snapshot.History{Log: a.events, Dir: a.backupDir(), Keys: a.c.sealing.keys}
	a.folds = &snapshot.Folds{Dir: dir, Source: a.history, Key: key, Log: a.part("snapshot")}
	start, from, err := a.folds.Load(ctx)
	if err != nil {
		return err
	}
	if a.ledger, err = projection.OpenLedger(a.history, start, from, a.now); err != nil {
		return err
	}
	a.ledger.Node, a.ledger.Log, a.ledger.MaxSkew, a.folds.Ledger = a.c.NodeName, a.part("ledger"), a.c.MaxClockSkew, a.ledger
	a.ledger.Observe = a.metrics.committed
	a.openTail()
	a.openServices()
	a.starts = openStarts(a.c.DataDir, a.now, a.part("starts"))
	replayed := a.ledger.View().Index()
	if start != nil {
		replayed -= start.Index()
	}
	a.say(replayed)
	a.empty = a.ledger.View().Index() == 0

	a.view = &snapshot.View{Path: filepath.Join(a.c.DataDir, "state.json"), Sums: filepath.Join(dir, "state.sum"),
		Node: a.c.NodeName, Ledger: a.ledger, Key: key, Log: a.part("snapshot")}
	a.backups = &snapshot.Backups{Dir: a.backupDir(), Apart: a.c.backupsApart(), Cluster: a.c.ClusterName, Node: a.c.NodeName, Agent: version, Ledger: a.ledger,
		Compress: a.c.BackupCompress == "zstd", For: a.c.sealing.forWhom, Keys: a.c.sealing.keys, Every: a.c.BackupInterval, Keep: a.c.BackupKeep, Log: a.part("backup")}
	a.restorer = &snapshot.Restorer{Ledger: a.ledger, Backups: a.backups, Log: a.part("restore"),
		Opened: filepath.Join(a.c.DataDir, "opened"), Stood: filepath.Join(a.c.DataDir, "state.json.stood"), Key: key, At: a.folds.At, Most: a.c.RestoreCommitBytes}
	a.openArchive()
	if a.c.ClusterAddr != "" {
		a.restorer.Hear = a.hearAll
	}
	if err := a.find(ctx); err != nil {
		return err
	}
	if err := a.welcome(a.c.NodeName); err != nil {
		return err
	}
	if err := a.sameName(); err != nil {
		return err
	}
	a.reconciler = &podman.Reconciler{Engine: a.engine, Ledger: a.ledger, Host: a.c.NodeName, Cluster: a.c.ClusterName, Boot: a.boot, Log: a.part("podman"),
		Settle: a.ready, Tell: a.starts.tell, Observe: a.metrics.reconciled, Resolver: func() netip.Addr { return a.services.resolver(a.c.cidr) }, Files: filesFolder(os.Getuid(), a.c.runtime, a.c.DataDir),
		Begun: projection.Recovery{Started: a.started, Replayed: replayed,
			Seconds: map[string]float64{"replay": time.Since(a.started).Seconds()}}}
	if a.listener, err = net.Listen("tcp", a.c.APIAddr); err != nil {
		return fmt.Errorf("--api-addr: %w", err)
	}
	a.log.Info("the API listens", "address", a.listener.Addr().String())
	defer func() {
		if err != nil {
			err = errors.Join(err, a.listener.Close())
		}
	}()
	answered := a.answerMeanwhile(ctx)
	err = a.belong(ctx)
	if err = errors.Join(err, answered()); err != nil {
		return err
	}
	if a.secrets, err = (secretKeys{a.c.DataDir}).open(a.cluster.member); err != nil {
		return err
	}
	reader := &secret.Reader{View: a.ledger.View, Keys: a.secrets}
	a.services.secret, a.reconciler.Values = reader.Secret, a.valuesOf(reader)
	if a.c.APITLSAddr != "" {
		if a.tls, err = net.Listen("tcp", a.c.APITLSAddr); err != nil {
			return fmt.Errorf("--api-tls-addr: %w", err)
		}
		a.log.Info("the API listens on TLS", "address", a.tls.Addr().String())
	}
	if err := a.connect(); err != nil {
		return err
	}
	if err := a.openFeed(); err != nil {
		return err
	}
	a.metrics.registry.MustRegister(&hostFigures{a.started, a.events, a.ledger, a.view, a.folds, a.backups, a.stuck}, &containers{a.reconciler}, &a.archive, &a.services, &followers{a.tail, a.audit})
	if a.many() {
		a.metrics.registry.MustRegister(&peers{a})
	}
	return nil
}

func (a *agent) part(name string) *slog.Logger { return a.log.With("part", name) }

// run starts every part, and ends them in the order in which they need each other: first those that record, then
// the ledger, then the view of what was recorded. The others are told that this host leaves while what the ingress has begun goes on for some seconds.
func (a *agent) run(ctx context.Context) error {
	ledgerCtx, stopLedger := context.WithCancel(context.WithoutCancel(ctx))
	viewCtx, stopViews := context.WithCancel(context.WithoutCancel(ctx))
	defer stopViews()
	defer stopLedger()
	var views errgroup.Group
	views.Go(func() error { return a.keepView(viewCtx) })
	views.Go(func() error { return a.folds.Run(viewCtx) })
	views.Go(func() error { return a.keepAudit(viewCtx) })
	// What speaks to the other hosts ends after what records, so that they hear of its last words; and names are answered for as long as anybody is served.
	othersCtx, stopOthers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopOthers()
	var others errgroup.Group

	parts, partsCtx := errgroup.WithContext(ctx)
	ledger := make(chan error, 1)
	parts.Go(func() error { // a ledger that cannot go on ends the agent; it goes on until the parts have ended
		go func() { ledger <- a.ledger.Run(ledgerCtx) }()
		select {
		case err := <-ledger:
			ledger <- nil
			return err
		case <-partsCtx.Done():
			return nil
		}
	})
	actors := []func(context.Context) error{
		func(ctx context.Context) error { return a.server().Serve(ctx, a.listener) },
		a.hear,
		a.reconciler.Run,
		a.countStarts,
		a.decide,
		a.speak,
		a.notify,
		a.tellClashes,
		a.chronicle,
		a.backups.Run,
		a.restore,
	}
	services, draining, last := a.serviceActors()
	actors = append(append(actors, a.archive.actors()...), services...)
	if a.c.traces {
		actors = append(actors, a.trace)
	}
	if a.tls != nil {
		actors = append(actors, func(ctx context.Context) error {
			return a.server().ServeTLS(ctx, a.tls, a.apiTLS())
		})
	}
	if a.told != nil {
		actors = append(actors, a.told.Run, a.told.feed.Run)
	}
	if a.cluster.member != nil {
		actors = append(actors, a.cluster.member.Run)
	}
	if a.many() {
		actors = append(actors, a.cluster.sight.Run, a.expel, a.stay, a.answer, a.remember)
		last = append(last, a.cluster.mesh.Run, a.cluster.sync.Run)
	}
	var drained errgroup.Group
	actors = append(append(actors, apart(partsCtx, &drained, draining)...), apart(othersCtx, &others, last)...)
	for _, run := range actors {
		parts.Go(func() error {
			if err := run(partsCtx); partsCtx.Err() == nil || !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		})
	}
	err := parts.Wait()
	a.log.Info("stopping; containers are left running", "index", a.ledger.View().Index())
	if err == nil && a.many() && a.refusing() == "" { // a host that has not heard the others must not count on: its disk may be an old one
		a.leave()
	}
	err = errors.Join(err, drained.Wait())
	stopOthers()
	err = errors.Join(err, others.Wait())
	stopLedger()
	err = errors.Join(err, <-ledger)
	stopViews()
	return errors.Join(err, views.Wait())
}

// decide places replicas, once this host knows what the others do.
func (a *agent) decide(ctx context.Context) error {
	if a.settle(ctx) != nil {
		return nil
	}
	d := &placement.Decider{Ledger: a.ledger, Host: a.c.NodeName, Log: a.part("placement"), RescheduleAfter: a.c.RescheduleAfter}
	if a.many() {
		d.Peers = a.cluster.sight.Peers
	}
	return d.Run(ctx)
}

// speak records what this host says of itself, and again when that has changed: its Podman may come later.
func (a *agent) speak(ctx context.Context) error {
	if a.settle(ctx) != nil {
		return nil
	}
	facts := podman.Facts{Engine: a.engine}
	every := time.NewTicker(10 * time.Second)
	defer every.Stop()
	for {
		h := a.host(facts.Host(ctx, a.reconciler.Progress().Podman != ""))
		if err := a.speakOnce(ctx, h); err != nil && ctx.Err() == nil {
			a.log.Warn("what this host is cannot be recorded; trying again", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

func (a *agent) speakOnce(ctx context.Context, h projection.Host) error {
	if !a.starts.may() && a.merelyStarted(h) {
		return nil
	}
	_, err := a.sayHost(ctx, h, "what this host is")
	return err
}

// sayHost records what this host says of itself, if that is not what is recorded.
func (a *agent) sayHost(ctx context.Context, h projection.Host, cause string) (projection.Receipt, error) {
	return a.ledger.Record(ctx, projection.By{Actor: "agent", Cause: cause},
		func(s *projection.State) ([]projection.Change, error) {
			key, now := projection.HostKey(a.c.NodeName), projection.Encode(h)
			if o, ok := s.Lookup(key); ok && string(o.Version.Object) == string(now) {
				return nil, nil
			}
			return []projection.Change{{Kind: events.Observed, Key: key, Object: now}}, nil
		})
}

// notify tells systemd how the recovery goes, when it is done, and when the agent is about to end.
func (a *agent) notify(ctx context.Context) error {
	poll := time.NewTicker(100 * time.Millisecond)
	defer poll.Stop()
	said := ""
	for {
		recovering, what := a.recovering()
		state := "STATUS=recovering: " + what
		if !recovering {
			state = daemon.SdNotifyReady + "\nSTATUS=ready"
		}
		sent, err := daemon.SdNotify(false, state)
		switch {
		case err != nil && err.Error() != said:
			said = err.Error()
			a.log.Warn("systemd cannot be told of the recovery; trying again", "err", err)
		case err == nil && !sent:
			return nil
		case err == nil && !recovering:
			poll.Stop()
		}
		select {
		case <-ctx.Done():
			_, err := daemon.SdNotify(false, daemon.SdNotifyStopping+"\nSTATUS=stopping; containers are left running")
			if err != nil {
				a.log.Debug("systemd cannot be told of the end", "err", err)
			}
			return nil
		case <-poll.C:
		}
	}
}

// machineID tells one machine from another, so that a copied folder is known for a copy; "" where the system has none.
func machineID() string {
	b, err := os.ReadFile("/etc/machine-id")
	if err != nil {
		return "" // then only peers can tell
	}
	return strings.TrimSpace(string(b))
}
