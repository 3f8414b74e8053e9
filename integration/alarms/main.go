// Command alarms finds out whether each alert of integration/monitoring/rules.yaml fires when what it tells of happens, says who is meant, and clears
// when it is over, and whether each panel of the dashboard has something to show.
//
// Debian's Prometheus scrapes three hosts (see package street) that are under load. What goes wrong there does so for real: agents are killed, wires cut,
// disks filled, Podman stopped, files damaged; what only a mistake in an agent can bring about, an agent does that is built with one. The rules are the
// product's own, with shorter times: see shortening; -v prints what that comes to.
//
// The program prints its figures, and ends with 0 only if every alert fired and cleared and every panel had data.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	seed           uint64
	deadline       time.Duration
	shortening     shortening
	only           string
	keep, verbose  bool
	bin, dir, form string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options // it is to be run in the root of the repository
	flag.Uint64Var(&o.seed, "seed", rand.Uint64()>>32, "of the load; the moments at which the machine does things are not")
	flag.DurationVar(&o.deadline, "deadline", 4*time.Minute, "how soon an alert must fire, and clear")
	flag.IntVar(&o.shortening.part, "part", 30, "the times of the rules become such a part of themselves")
	flag.DurationVar(&o.shortening.most, "most", 15*time.Second, "and no longer than this")
	flag.StringVar(&o.only, "only", "", "only these `alerts`, with commas between; the dashboard is then not looked at")
	flag.BoolVar(&o.keep, "keep", false, "keep the folder with what Prometheus and the agents wrote in any case")
	flag.BoolVar(&o.verbose, "v", false, "print the rules as they are, and as they are made shorter")
	flag.StringVar(&o.bin, "bin", "bin/clockshift", "folder of a podman-swarm-agent that is built with the tag clockshift")
	flag.StringVar(&o.dir, "dir", "", "folder for the hosts' files, on a real disk (default: the one for temporary files)")
	flag.StringVar(&o.form, "o", "", "json: the figures as JSON, and what is done on stderr")
	flag.Parse()
	err := run(ctx, o)
	switch {
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		fmt.Fprintln(os.Stderr, "alarms: interrupted; all of it has been removed")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "alarms:", err)
		os.Exit(1)
	}
}

// figures are what is printed.
type figures struct {
	Alerts     int               `json:"alerts"` // in rules.yaml
	Seed       uint64            `json:"seed"`
	Proofs     []*proof          `json:"proofs"`
	FalseAlarm []string          `json:"false_alarms"` // that fired before anything went wrong
	Besides    []string          `json:"besides"`      // that fired with a cause that is not named for them
	NoCause    []string          `json:"without_a_cause"`
	Panels     *panelFigures     `json:"panels"`  // null: they were not looked at
	Metrics    map[string]string `json:"metrics"` // what promtool check metrics says, by host; "": nothing
	Requests   int               `json:"requests"`
	Failed     int               `json:"requests_failed"` // of these, as they should where an agent is down or its disk full
	Seconds    float64           `json:"seconds"`
}

// proof is that an alert fires for a cause, and clears after it.
type proof struct {
	Alert   string            `json:"alert"`
	Cause   string            `json:"cause"`
	Labels  map[string]string `json:"labels"` // that it must have
	Fired   float64           `json:"fired_after_seconds"`
	Cleared float64           `json:"cleared_after_seconds"`
	Says    string            `json:"says"`  // its summary
	Wrong   string            `json:"wrong"` // "": nothing

	want         want
	began, ended time.Time // the cause
	seen         bool      // that it fired
}

// proven is how many alerts have been seen to fire for each of their causes, and to clear.
func (f *figures) proven() int {
	wrong, all := map[string]bool{}, map[string]bool{}
	for _, p := range f.Proofs {
		all[p.Alert] = true
		wrong[p.Alert] = wrong[p.Alert] || p.Wrong != ""
	}
	n := 0
	for alert := range all {
		if !wrong[alert] {
			n++
		}
	}
	return n
}

// wrong are lines of all that is not as it must be.
func (f *figures) wrong() (all []string) {
	for _, p := range f.Proofs {
		if p.Wrong != "" {
			all = append(all, fmt.Sprintf("%s, by %s: %s", p.Alert, p.Cause, p.Wrong))
		}
	}
	for _, text := range f.FalseAlarm {
		all = append(all, "fired for nothing: "+text)
	}
	for _, text := range f.NoCause {
		all = append(all, "without a cause: "+text)
	}
	for host, said := range f.Metrics {
		if said != "" {
			all = append(all, fmt.Sprintf("promtool check metrics of %s: %s", host, said))
		}
	}
	if f.Panels != nil {
		for _, text := range f.Panels.Empty {
			all = append(all, "panel "+text)
		}
	}
	return all
}

func run(ctx context.Context, o options) error {
	if o.form != "" && o.form != "json" || o.shortening.part < 1 || o.shortening.most < time.Second || o.deadline <= 0 {
		return errors.New("want -o json or nothing, -part 1 or more, -most 1s or more, and a -deadline")
	}
	t := &trying{options: o, rnd: rand.New(rand.NewPCG(o.seed, 0)), say: os.Stdout, figures: figures{Seed: o.seed, Metrics: map[string]string{}}}
	if o.form == "json" {
		t.say = os.Stderr
	}
	rules, err := o.shortening.readRules("integration/monitoring/rules.yaml")
	if err != nil {
		return err
	}
	t.rules, t.figures.Alerts = rules, len(rules.alerts)
	fmt.Fprintf(t.say, "alarms: %d alerts, seed %d; their times are divided by %d, and at most %v\n", len(rules.alerts), o.seed, o.shortening.part, o.shortening.most)
	if o.verbose {
		fmt.Fprintln(t.say, strings.Join(rules.changes, "\n"))
	}
	phases, err := only(t.phases(), rules.alerts, o.only)
	if err != nil {
		return err
	}
	began := time.Now()
	err = t.try(ctx, phases)
	t.figures.Seconds = time.Since(began).Seconds()
	wrong := t.figures.wrong()
	err = errors.Join(err, t.figures.print(os.Stdout, o.form, wrong))
	if err == nil && len(wrong) > 0 {
		err = errors.New("something was wrong")
	}
	if err != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w; the same again: task alarms -- -seed %d", err, o.seed)
	}
	return cmp.Or(ctx.Err(), err)
}

// print prints the figures.
func (f *figures) print(w io.Writer, form string, wrong []string) error {
	if form == "json" {
		b, err := json.MarshalIndent(f, "", "  ")
		if err == nil {
			_, err = fmt.Fprintf(w, "%s\n", b)
		}
		return err
	}
	for _, text := range wrong {
		fmt.Fprintln(w, " ", text)
	}
	line := fmt.Sprintf("alerts %d  proven %d", f.Alerts, f.proven())
	if f.Panels != nil {
		line += fmt.Sprintf("  panels %d  queries %d  samples %d  empty %d", f.Panels.Panels, f.Panels.Queries, f.Panels.Samples, len(f.Panels.Empty))
	}
	_, err := fmt.Fprintf(w, "%s  false alarms %d  requests %d (failed %d)  wrong %d  seed %d  seconds %.0f\n", line, len(f.FalseAlarm), f.Requests, f.Failed,
		len(wrong), f.Seed, f.Seconds)
	return err
}

// only are the phases with what causes those alerts; "": all.
func only(phases []phase, alerts []string, names string) ([]phase, error) {
	if names == "" {
		return phases, nil
	}
	wanted := map[string]bool{}
	for name := range strings.SplitSeq(names, ",") {
		if !strings.HasPrefix(name, "PodmanSwarm") {
			name = "PodmanSwarm" + name
		}
		if !slices.Contains(alerts, name) {
			return nil, fmt.Errorf("-only: there is no alert %s; there are %s", name, strings.Join(alerts, ", "))
		}
		wanted[name] = true
	}
	for i := range phases {
		causes := &phases[i].causes
		*causes = slices.DeleteFunc(*causes, func(c cause) bool {
			return !slices.ContainsFunc(c.wants, func(w want) bool { return wanted[w.alert] })
		})
	}
	return slices.DeleteFunc(phases, func(p phase) bool { return len(p.causes) == 0 }), nil
}
