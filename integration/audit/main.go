// Command audit finds out whether somebody who has touched a log is found out. It makes a log of three hosts' events, as one of them has it, and
// tampers with copies of it: at random, and in each way twice: as one does who changes bytes, and as one does who has read DESIGN.md of
// package events and makes every hash, checksum and watermark fit. So it does with what was trimmed off a log and stands in increments beside the
// backups. Each copy is then held to itself, to what two other hosts say in answer to `psctl audit verify --peer`, and to what `psctl audit head`
// printed. Copies that nobody has touched must be found good, also where a writer was killed in the middle, and where increments are missing.
//
// The program prints its figures, and ends with 0 only if every tampering was found and named, and nothing that was not touched was called bad.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

type options struct {
	events, tamperings, untouched int
	seed                          uint64
	bin, dir, form                string
}

func main() {
	if dir := os.Getenv(writeTo); dir != "" {
		fmt.Fprintln(os.Stderr, write(dir)) // until it is killed
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.IntVar(&o.events, "events", 100_000, "how many events the log has")
	flag.IntVar(&o.tamperings, "tamperings", 200, "how many copies are tampered with")
	flag.IntVar(&o.untouched, "untouched", 200, "how many copies are not")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64()>>32, "of all that is random here; the moment at which a writer is killed is not")
	flag.StringVar(&o.bin, "bin", "bin", "folder of podman-swarm-agent, whose log verify is asked as well")
	flag.StringVar(&o.dir, "dir", "", "folder for the logs (default: the one for temporary files)")
	flag.StringVar(&o.form, "o", "", "json: the figures as JSON")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "audit:", err)
		os.Exit(1)
	}
}

// figures are what is printed.
type figures struct {
	Events     int               `json:"events"`
	Commits    int               `json:"commits"`
	Seed       uint64            `json:"seed"`
	Tampered   map[string]*tally `json:"tampered"`
	Missed     []string          `json:"missed"`  // tamperings that nothing told of
	Unnamed    []string          `json:"unnamed"` // and those of which neither told whose events they were
	Untouched  map[string]int    `json:"untouched"`
	Killed     int               `json:"killed"` // of them, in which a writer was killed
	Torn       int               `json:"torn"`   // of these, that had an unfinished end
	FalseAlarm []string          `json:"false_alarms"`
	Seconds    float64           `json:"seconds"`
}

// tally is how many tamperings of one kind there were, and by how many each told.
type tally struct {
	Tried int `json:"tried"`
	Alone int `json:"found_by_itself"`
	Peers int `json:"found_with_peers"`
	Heads int `json:"found_with_heads"`
	Found int `json:"found"`
	Named int `json:"named"` // host, incarnation and first bad event
}

func run(ctx context.Context, o options) (err error) {
	if o.events < 2000 || o.tamperings < 0 || o.untouched < 0 || o.form != "" && o.form != "json" {
		return errors.New("-events is 2000 or more, -tamperings and -untouched not negative, and -o json or nothing")
	}
	dir, err := os.MkdirTemp(o.dir, "podman-swarm-audit-")
	if err != nil {
		return err
	}
	began := time.Now()
	t := &trying{options: o, dir: dir, rnd: rand.New(rand.NewPCG(o.seed, 0)),
		figures: figures{Seed: o.seed, Tampered: map[string]*tally{}, Untouched: map[string]int{}}}
	if o.form == "" {
		fmt.Printf("audit: %d events, %d tamperings, %d untouched copies, seed %d\n", o.events, o.tamperings, o.untouched, o.seed)
	}
	err = t.try(ctx)
	t.figures.Seconds = time.Since(began).Seconds()
	err = errors.Join(err, t.print())
	if f := &t.figures; err == nil && len(f.Missed)+len(f.Unnamed)+len(f.FalseAlarm) > 0 {
		err = errors.New("something was wrong")
	}
	if err != nil {
		return fmt.Errorf("%w; the log is in %s; the same again: task audit -- -events %d -tamperings %d -untouched %d -seed %d", err, dir,
			o.events, o.tamperings, o.untouched, o.seed)
	}
	return os.RemoveAll(dir)
}

func (t *trying) print() error {
	f := &t.figures
	if t.form == "json" {
		b, err := json.MarshalIndent(f, "", "  ")
		if err == nil {
			_, err = fmt.Printf("%s\n", b)
		}
		return err
	}
	sum := tally{}
	line := func(what string, n *tally) {
		fmt.Printf("  %-34s %4d  by itself %4d  with peers %4d  with heads %4d  found %4d  named %4d\n", what, n.Tried, n.Alone, n.Peers, n.Heads, n.Found, n.Named)
	}
	for _, way := range ways() {
		if n := f.Tampered[way.name]; n != nil {
			line(way.name, n)
			sum = tally{sum.Tried + n.Tried, sum.Alone + n.Alone, sum.Peers + n.Peers, sum.Heads + n.Heads, sum.Found + n.Found, sum.Named + n.Named}
		}
	}
	line("all", &sum)
	n := 0
	for _, what := range untouchedKinds() {
		fmt.Printf("  untouched: %-23s %4d\n", what, f.Untouched[what])
		n += f.Untouched[what]
	}
	for what, all := range map[string][]string{"not found": f.Missed, "not named": f.Unnamed, "false alarm": f.FalseAlarm} {
		for _, text := range all {
			fmt.Printf("  %s: %s\n", what, text)
		}
	}
	_, err := fmt.Printf("events %d  commits %d  tampered %d  found %d  named %d  untouched %d  killed %d (torn %d)  false alarms %d  seed %d  seconds %.0f\n",
		f.Events, f.Commits, sum.Tried, sum.Found, sum.Named, n, f.Killed, f.Torn, len(f.FalseAlarm), f.Seed, f.Seconds)
	return err
}

// trying is one whole trial.
type trying struct {
	options
	dir     string
	rnd     *rand.Rand
	base    *base
	figures figures
}

// atOnce is how many copies are looked at at the same time.
const atOnce = 2

func (t *trying) try(ctx context.Context) (err error) {
	if t.base, err = makeBase(filepath.Join(t.dir, "base"), t.events, t.rnd); err != nil {
		return err
	}
	t.figures.Events, t.figures.Commits = t.base.events, len(t.base.records)
	if err := t.each(ctx, t.tamperings, t.tamper); err != nil {
		return err
	}
	return t.each(ctx, t.untouched, t.leave)
}

// each calls fn n times, with a folder and random numbers of its own, some at a time, and what it then says of the figures one by one.
func (t *trying) each(ctx context.Context, n int, fn func(ctx context.Context, i int, dir string, rnd *rand.Rand) (say func(*figures), err error)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	said := make(chan func(*figures), n)
	for i := range n {
		rnd := rand.New(rand.NewPCG(t.seed, t.rnd.Uint64()))
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			dir, err := os.MkdirTemp(t.dir, "copy-")
			if err != nil {
				return err
			}
			say, err := fn(ctx, i, dir, rnd)
			if err != nil {
				return fmt.Errorf("copy %d in %s: %w", i, dir, err)
			}
			said <- say
			return os.RemoveAll(dir)
		})
	}
	err := g.Wait()
	close(said)
	for say := range said {
		say(&t.figures)
	}
	return err
}
