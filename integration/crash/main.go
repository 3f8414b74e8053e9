// Command crash kills an agent under load with SIGKILL, again and again, and checks after each restart that every
// acknowledged change is there, that no manifest is there in part, and that no container was bounced.
//
// The agent writes to real disk and runs real containers on a Podman of its own. It is killed at random moments: under
// load, while it starts, and while it recovers; with -restores a third of them in the middle of what it does beside its log, and it is counted what they
// were in the middle of. The program prints its figures and ends with 0 only if nothing was lost or wrong, and if a run that is long enough came upon all that it is for.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.IntVar(&o.rounds, "rounds", documented, "how many times the agent is killed under load")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64()>>32, "of all that is random here; the moments at which the machine does things are not")
	flag.IntVar(&o.clients, "clients", 8, "how many write at the same time")
	flag.IntVar(&o.containers, "containers", 6, "how many containers run that must never be bounced")
	flag.DurationVar(&o.longest, "load", time.Second, "the longest time under load before a kill; with -restores it follows from how long a restore takes")
	flag.BoolVar(&o.restores, "restores", false, "kill it also while it makes, seals, prunes and restores backups, trims its log, has its data dir sealed, and takes over what another agent left; in as many rounds as there are by default it must have been killed in the middle of each")
	flag.StringVar(&o.bin, "bin", "bin", "folder of podman-swarm-agent")
	flag.StringVar(&o.dir, "dir", "", "folder for the data dir (default: a temporary one), which is removed unless something was wrong")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
		os.Exit(1)
	}
}

type options struct {
	rounds, clients, containers int
	seed                        uint64
	longest                     time.Duration
	bin, dir                    string
	restores                    bool
}

func run(ctx context.Context, o options) (err error) {
	if o.rounds < 1 || o.clients < 1 || o.containers < 0 || o.longest <= 0 {
		return errors.New("-rounds, -clients and -load must be positive, and -containers not negative")
	}
	dir, err := os.MkdirTemp(o.dir, "podman-swarm-crash-")
	if err != nil {
		return err
	}
	fmt.Printf("crash: %d rounds, %d clients, %d containers, seed %d\n", o.rounds, o.clients, o.containers, o.seed)
	t := &trying{options: o, dir: dir, rnd: rand.New(rand.NewPCG(o.seed, 0))}
	began := time.Now()
	err = t.try(ctx)
	fmt.Printf("rounds %d  kills %d (while starting %d, recovering %d)  acknowledged %d  lost %d  partial %d  wrong %d  bounced %d  seed %d  seconds %.0f\n",
		t.round, t.kills, t.starting, t.recovering, t.loaded(), len(t.report.Lost), len(t.report.Partial), len(t.report.Wrong),
		len(t.witnesses.Bounced), o.seed, time.Since(began).Seconds())
	if o.restores && t.agent != nil {
		err = errors.Join(err, t.printInside())
	}
	if err == nil && t.report.Clean() && len(t.witnesses.Bounced) == 0 {
		return os.RemoveAll(dir)
	}
	for _, b := range t.witnesses.Bounced {
		fmt.Println("bounced:", b)
	}
	fmt.Print(t.report.String())
	return errors.Join(err, fmt.Errorf("something was wrong; the data dir and the agent's output are in %s", filepath.Join(dir)))
}

// documented is of how many rounds a run is, unless told otherwise: enough for each situation to come up.
const documented = 200

// printInside tells what kills fell into. Of a run that is as long as is documented it is an error that they did not fall into something that they are to.
func (t *trying) printInside() error {
	said, err := os.ReadFile(t.agent.Output)
	if err != nil {
		return err
	}
	i, m, r := &t.inside, &t.migrations, &t.reseals
	var all trial.Situations
	for d := range trial.Doings {
		all = append(all, trial.Situation{What: d.String(), Hits: i.under[d]})
	}
	all = append(all, trial.Situation{What: "a restore, between two commits", Hits: strings.Count(string(said), goingOn)},
		trial.Situation{What: "a reseal that left something to be ended", Hits: r.Inside},
		trial.Situation{What: "a taking over", Hits: m.before + m.between})
	for _, s := range []trial.Sealing{trial.ForKey, trial.ByPassphrase} {
		all = append(all, trial.Situation{What: "a backup or increment " + s.String(), Hits: i.sealing[s]})
	}
	fmt.Printf("killed in the middle of: %v; of a snapshot of the fold %d, of a write of state.json %d\n", all, i.fold, i.view)
	fmt.Printf("restores %d answered; log trimmed %d times; data dir sealed, made plain, or sealed anew %d times, killed in it %d times; taken over %d times, killed in it %d times: before the first commit %d, between two commits %d\n",
		t.restoring.Done, strings.Count(string(said), "the log was trimmed"), r.Done, r.Killed, m.done, m.kills, m.before, m.between)
	if t.round < documented {
		return nil
	}
	return all.Missed()
}
