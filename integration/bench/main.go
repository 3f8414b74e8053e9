// Command bench measures what must not be slow, each figure against something outside of this product in the same run:
// a bare write and fsync of as many bytes, a bare read of the same files, Podman's own calls, the way of a state file.
// Both sides take turns, a few milliseconds each, and medians are compared, so a busy machine moves both alike.
//
// It ends with 0 when everything could be measured, also where an aim is missed: that is for people to judge, who know
// the machine and what else it did. With -strict a missed aim is an error, which names each.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "\nbench:", err)
		os.Exit(1)
	}
}

// bench is one run: where it works, and how long.
type bench struct {
	dir   string // a folder of this run's own, on the disk that is measured
	bin   string // folder of podman-swarm-agent
	short bool
	say   io.Writer // progress
}

// part measures one lettered figure.
type part struct {
	name, what string
	of         string // the name of several parts together
	run        func(*bench, context.Context) ([]row, error)
}

func parts() []part {
	return []part{
		{"a", "one durable commit through the ledger", "host", (*bench).appends},
		{"b", "concurrent writers", "host", (*bench).writers},
		{"c", "bytes written per apply", "host", (*bench).written},
		{"d", "replay and fold on one core", "host", (*bench).replay},
		{"e", "from start to ready", "host", (*bench).start},
		{"f", "recovery of exited containers", "host", (*bench).recovery},
		{"g", "memory", "host", (*bench).memory},
		{"h", "the way of the state file", "host", (*bench).whole},
		{"i", "from an apply on one host until the others show it", "sync", (*bench).spread},
		{"j", "events through a cluster", "sync", (*bench).flow},
		{"k", "missed events healed", "sync", (*bench).heal},
		{"l", "idle hosts in one process", "sync", (*bench).quiet},
		{"m", "three agents", "sync", (*bench).agents},
		{"n", "many hosts, simulated", "sync", (*bench).wide},
		{"o", "increments against full copies", "keep", (*bench).increments},
		{"p", "backups, and what a restore would change", "keep", (*bench).keep},
		{"q", "the state at another time", "keep", (*bench).moments},
		{"r", "a thousand who follow the log", "host", (*bench).followers},
		{"s", "a container through its Service and its Ingress", "services", (*bench).services},
		{"t", "a host with a thousand Services", "services", (*bench).many},
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	return runParts(ctx, parts(), args, stdout, stderr)
}

// runParts measures those of all that the arguments choose.
func runParts(ctx context.Context, all []part, args []string, stdout, stderr io.Writer) (err error) {
	b := &bench{say: stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	only := flags.String("only", "", "measure only these `parts`: a to t; host for a to h and r, sync for i to n, keep for o to q, services for s and t")
	asJSON := flags.Bool("json", false, "print one JSON object a line instead of a table")
	parent := flags.String("dir", "/var/tmp", "`folder` on the disk to measure; what is made there is removed again")
	flags.BoolVar(&b.short, "short", false, "measure less of everything: to see that it works")
	strict := flags.Bool("strict", false, "end with an error that names each aim that was missed")
	profile := flags.String("cpuprofile", "", "write a CPU profile of the measuring to this `file`")
	flags.StringVar(&b.bin, "bin", "bin", "`folder` of podman-swarm-agent")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(all, *only)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp(*parent, "swarm-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	p := printer{w: stdout, asJSON: *asJSON}
	m, err := look(b.dir)
	if err != nil {
		return err
	}
	p.machine(m)

	var rows []row
	for _, part := range chosen {
		fmt.Fprintf(b.say, "measuring %s: %s\n", part.name, part.what)
		got, perr := part.run(b, ctx)
		rows = append(rows, got...)
		if perr != nil {
			err = fmt.Errorf("%s, %s: %w", part.name, part.what, perr)
			break
		}
	}
	err = errors.Join(err, p.rows(rows))
	if *strict {
		err = errors.Join(err, missed(rows))
	}
	return err
}

// choose gives the parts that are named, all of them if none is.
func choose(all []part, only string) ([]part, error) {
	if only == "" {
		return all, nil
	}
	var chosen []part
	for name := range strings.SplitSeq(only, ",") {
		was := len(chosen)
		for _, p := range all {
			if name := strings.TrimSpace(name); p.name == name || p.of == name {
				chosen = append(chosen, p)
			}
		}
		if len(chosen) == was {
			return nil, fmt.Errorf("-only %q: there is no part %q", only, name)
		}
	}
	return chosen, nil
}

// scale is n, or a share of it in a short run.
func (b *bench) scale(n, short int) int {
	if b.short {
		return short
	}
	return n
}
