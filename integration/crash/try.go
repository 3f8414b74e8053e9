package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// groupsEach is how many groups of objects each client writes to: few, so that each is written often.
const groupsEach = 25

// trying is one whole trial.
type trying struct {
	options
	dir string
	rnd *rand.Rand

	host       *podmanhost.Host
	agent      *trial.Agent
	load       *trial.Load
	churn      churn
	restoring  trial.Restores
	reseals    trial.Reseals
	inside     inside
	migrations migrations
	keys       trial.Keys
	sealing    trial.Sealing // of the life that is, or is begun next
	watch      *trial.Watch  // of that life
	witnesses  trial.Witnesses

	round, kills, starting, recovering int
	report                             trial.Report
}

func (t *trying) loaded() int {
	if t.load == nil {
		return 0
	}
	return t.load.Acknowledged()
}

func (t *trying) try(ctx context.Context) (err error) {
	hostDir := filepath.Join(t.dir, "host")
	if err := os.Mkdir(hostDir, 0o750); err != nil {
		return err
	}
	if t.host, err = podmanhost.Open(ctx, hostDir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.host.Close()) }()
	t.agent = &trial.Agent{
		Bin: filepath.Join(t.bin, "podman-swarm-agent"), DataDir: filepath.Join(t.dir, "data"), Podman: t.host.Socket(),
		Args: []string{"--recovery-delay", "100ms"}, Output: filepath.Join(t.dir, "agent.log"),
	}
	if t.restores {
		t.agent.Args = append(append(t.agent.Args, trial.RestoreArgs()...), trial.SayDoings()...)
		if t.keys, err = trial.LayKeys(t.dir); err != nil {
			return err
		}
		t.keys.Set(t.agent, t.sealing)
		t.restoring.Rnd = rand.New(rand.NewPCG(t.seed, 2))
		t.reseals = trial.Reseals{Rnd: rand.New(rand.NewPCG(t.seed, 3)), Kill: true}
	}
	defer func() { err = errors.Join(err, t.agent.Kill()) }()
	t.load = trial.NewLoad(t.clients, groupsEach, 4*time.Millisecond, t.seed)
	t.witnesses = trial.Witnesses{Host: t.host, Name: "witness"}
	t.churn = churn{rnd: rand.New(rand.NewPCG(t.seed, 1))}

	if err := t.begin(ctx); err != nil {
		return err
	}
	for t.round = 1; t.round <= t.rounds; t.round++ {
		if err := t.once(ctx); err != nil {
			return fmt.Errorf("round %d: %w", t.round, err)
		}
		if t.round%10 == 0 || t.round == t.rounds {
			fmt.Printf("  round %d: acknowledged %d, lost %d, partial %d, wrong %d, bounced %d\n", t.round, t.loaded(),
				len(t.report.Lost), len(t.report.Partial), len(t.report.Wrong), len(t.witnesses.Bounced))
		}
	}
	t.round = t.rounds
	return t.end(ctx)
}

// begin starts the agent and the containers that must not be bounced from then on.
func (t *trying) begin(ctx context.Context) error {
	if err := t.start(); err != nil {
		return err
	}
	if err := t.agent.Ready(ctx); err != nil {
		return err
	}
	if t.restores {
		if err := t.restoring.Begin(ctx, t.agent.URL()); err != nil {
			return err
		}
		if err := t.restoring.Once(ctx, t.agent.URL()); err != nil { // to know how long it takes
			return err
		}
	}
	return t.witnesses.Begin(ctx, t.agent.URL(), t.containers)
}

// once puts load on the agent, which is ready, kills it at a random moment, starts it again, and sometimes kills it
// while it starts or recovers; then it looks at what is left.
func (t *trying) once(ctx context.Context) error {
	longest := t.longest
	if t.restores { // somewhere in the first restore, or in the next
		longest = 3 * t.restoring.Took / 2
	}
	long := time.Duration(1 + t.rnd.Int64N(int64(longest)))
	aimed, what := t.restores && t.rnd.IntN(3) == 0, trial.Doing(0)
	if aimed {
		what = t.aimed()
		long = 4 * t.restoring.Took
		if what == trial.Trimming { // of which there is one in some restores
			long *= 4
		}
	}
	until, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.load.Run(ctx, t.agent.URL())
	}()
	churned := make(chan struct{})
	go func() {
		defer close(churned)
		if t.containers > 0 {
			t.churn.run(until, t.agent.URL())
		}
	}()
	restoring := make(chan struct{})
	go func() {
		defer close(restoring)
		if t.restores {
			t.restoring.Run(until, t.agent.URL())
		}
	}()
	var err error
	if aimed {
		err = t.aim(until, what)
	} else {
		<-until.Done()
	}
	if t.agent.Ended() {
		return fmt.Errorf("the agent ended by itself; it wrote:\n%s", t.agent.OutputTail())
	}
	if err := errors.Join(err, t.kill()); err != nil {
		return err
	}
	cancel()
	<-done
	<-churned
	<-restoring
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.restores {
		t.inside.look(t.agent.DataDir)
		t.seal()
		if t.rnd.IntN(4) == 0 {
			if err := t.reseals.Next(ctx, t.agent); err != nil {
				return err
			}
		}
	}
	if err := t.killAgain(ctx); err != nil {
		return err
	}
	if err := t.start(); err != nil {
		return err
	}
	if err := t.agent.Ready(ctx); err != nil {
		return err
	}
	return t.look(ctx)
}

// seal decides how the agent's backups are sealed in its next life: by chance, and in the last rounds with a passphrase, since those take long, and what was sealed so
// is opened only by who goes on with it.
func (t *trying) seal() {
	t.sealing = trial.Sealing(t.rnd.IntN(int(trial.ByPassphrase)))
	if t.round >= t.rounds-(t.rounds+9)/20 {
		t.sealing = trial.ByPassphrase
	}
	t.keys.Set(t.agent, t.sealing)
}

// start begins a life of the agent, and to watch it.
func (t *trying) start() (err error) {
	if t.watch, err = t.agent.Watch(); err != nil {
		return err
	}
	return t.agent.Start()
}

func (t *trying) kill() error {
	t.kills++
	if err := t.agent.Kill(); err != nil || !t.restores {
		return err
	}
	return t.inside.count(t.watch, t.sealing)
}

// killAgain kills the agent up to three times more before it is ready: within the first moments of its start, which
// take in the log's repair, or within its recovery.
func (t *trying) killAgain(ctx context.Context) error {
	for range 3 {
		within, count := 30*time.Millisecond, &t.starting
		switch dice := t.rnd.IntN(10); {
		case dice < 6:
			return nil
		case dice < 8:
			within, count = 600*time.Millisecond, &t.recovering
		}
		if err := t.start(); err != nil {
			return err
		}
		at := time.NewTimer(time.Duration(t.rnd.Int64N(int64(within))))
		select {
		case <-ctx.Done():
			at.Stop()
			return ctx.Err()
		case <-at.C:
		}
		if t.agent.Ended() {
			return fmt.Errorf("the agent ended by itself while it started; it wrote:\n%s", t.agent.OutputTail())
		}
		*count++
		if err := t.kill(); err != nil {
			return err
		}
	}
	return nil
}

// look compares what the agent holds with what it had acknowledged, and the containers with what they were.
func (t *trying) look(ctx context.Context) error {
	seen, err := trial.Listed(ctx, t.agent.URL())
	if err != nil {
		return err
	}
	t.report.Add(t.load.Check(seen))
	if t.restores {
		report, err := t.restoring.Look(ctx, t.agent, t.round == t.rounds)
		t.report.Add(report)
		if err != nil {
			return err
		}
		if t.round == 1 || t.rnd.IntN(3) == 0 {
			if err := t.migrate(ctx); err != nil {
				return err
			}
		}
	}
	return t.witnesses.Look(ctx)
}

// end lets the agent come to rest and compares all that tells of the state: the API, the log's own commands before and
// after the agent has ended in order, and Podman.
func (t *trying) end(ctx context.Context) error {
	if t.containers > 0 {
		if err := t.churn.settle(ctx, t.agent.URL(), t.host); err != nil {
			return err
		}
	}
	before, err := trial.Containers(ctx, t.host)
	if err != nil {
		return err
	}
	if want := t.containers + t.churn.replicas; len(before) != want {
		return fmt.Errorf("%d containers at the end, want %d: %v", len(before), want, before)
	}
	if !t.restores { // else it begins later
		dumped, _, err := trial.Dumped(ctx, t.agent.Bin, t.agent.DataDir)
		if err != nil {
			return fmt.Errorf("beside the running agent: %w", err)
		}
		t.report.Add(t.load.Check(dumped))
	}
	code, err := t.agent.Terminate(ctx)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("after SIGTERM the agent ended with %d; it wrote:\n%s", code, t.agent.OutputTail())
	}
	if err := trial.Verify(ctx, t.agent.Bin, t.agent.DataDir); err != nil {
		return err
	}
	after, err := trial.Containers(ctx, t.host)
	if err != nil {
		return err
	}
	t.witnesses.Bounced = append(t.witnesses.Bounced, trial.Bounced(before, after)...)
	if t.restores {
		fmt.Println("  log: chain verified")
		return nil
	}
	dumped, events, err := trial.Dumped(ctx, t.agent.Bin, t.agent.DataDir)
	if err != nil {
		return err
	}
	t.report.Add(t.load.Check(dumped))
	segments, err := filepath.Glob(filepath.Join(t.agent.DataDir, "events", "[0-9]*"))
	if err != nil {
		return err
	}
	torn := len(slices.DeleteFunc(segments, func(s string) bool { return len(filepath.Base(s)) == 20 }))
	fmt.Printf("  log: %d events, chain verified, dump equal to the state; unfinished ends cut off: %d\n", events, torn)
	return nil
}
