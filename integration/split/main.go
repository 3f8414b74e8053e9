// Command split puts hosts of a cluster through disasters under load, round after round, and checks after each that
// what people were promised holds: every host has the same state, nothing that was acknowledged is lost, nothing that
// was deleted is back, every replica runs once and answers, and none moved without need.
//
// The hosts are real but for their hardware: see package street. What is random follows from the seed; the moments at
// which the machine does things do not. The program prints a line for each round and its figures, and ends with 0 only
// if nothing was lost, resurrected or wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

type options struct {
	rounds, hosts       int
	seed                uint64
	longest, reschedule time.Duration
	deadline            time.Duration
	keep                bool
	bin, dir            string
	only                string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.IntVar(&o.rounds, "rounds", 100, "how many rounds of disasters")
	flag.IntVar(&o.hosts, "hosts", 3, "how many hosts")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64()>>32, "of all that is random here")
	flag.DurationVar(&o.longest, "longest", 20*time.Second, "the longest time that a disaster lasts")
	flag.DurationVar(&o.reschedule, "reschedule-after", 10*time.Second, "for how long a host must be silent before its replicas move")
	flag.DurationVar(&o.deadline, "deadline", 2*time.Minute, "how soon after a heal everything must hold again")
	flag.BoolVar(&o.keep, "keep", false, "keep the folder with data dirs and the agents' output in any case")
	flag.StringVar(&o.only, "only", "", "only disasters with this in their name, such as \"cut\" or \"kill\"")
	flag.StringVar(&o.bin, "bin", "bin", "folder of podman-swarm-agent")
	flag.StringVar(&o.dir, "dir", "", "folder for the hosts' files, on a real disk (default: the one for temporary files)")
	flag.Parse()
	err := run(ctx, o)
	switch {
	case err == errInterrupted: // and no error of cleaning up is joined to it
		fmt.Fprintln(os.Stderr, "split: interrupted; all of it has been removed")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "split:", err)
		os.Exit(1)
	}
}

// errInterrupted stands for whatever an interrupt broke off.
var errInterrupted = errors.New("interrupted")

func run(ctx context.Context, o options) (err error) {
	if o.rounds < 1 || o.hosts < 1 || o.longest < time.Second || o.deadline <= 0 {
		return errors.New("-rounds, -hosts and -deadline must be positive, and -longest at least 1s")
	}
	fmt.Printf("split: %d rounds, %d hosts, seed %d\n", o.rounds, o.hosts, o.seed)
	t := &trying{options: o, rnd: rand.New(rand.NewPCG(o.seed, 0))}
	began := time.Now()
	err = t.try(ctx)
	fmt.Println(t.summary(time.Since(began)))
	for _, line := range t.report.lines() {
		fmt.Println(line)
	}
	if err == nil && !t.report.clean() {
		err = errors.New("something was wrong")
	}
	if err == errInterrupted {
		return err
	}
	if err != nil {
		return fmt.Errorf("%w; the same again: task split -- -rounds %d -hosts %d -seed %d", err, o.rounds, o.hosts, o.seed)
	}
	return nil
}
