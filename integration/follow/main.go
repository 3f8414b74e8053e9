// Command follow kills an agent and those who follow its log, again and again, and checks that every follower is told each event once: none is lost, none is
// repeated, whichever way it follows and wherever it goes on from.
//
// Half of them follow by server-sent events and say with Last-Event-ID where they were, the others by JSON lines from the position of the last line that they had. The
// agent's --audit-file is held to the same. It runs without Podman: the events are of what people declare. The program prints its figures and ends with 0 only if
// nothing was lost or repeated.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

type options struct {
	restarts, followers int
	seed                uint64
	bin, dir            string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.IntVar(&o.restarts, "restarts", 100, "how many times the agent is ended, two in three times with SIGKILL")
	flag.IntVar(&o.followers, "followers", 6, "how many follow at the same time; each ends its connection at random moments, too")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64()>>32, "of all that is random here; the moments at which the machine does things are not")
	flag.StringVar(&o.bin, "bin", "bin", "folder of podman-swarm-agent")
	flag.StringVar(&o.dir, "dir", "", "folder for the data dir (default: a temporary one), which is removed unless something was wrong")
	flag.Parse()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "follow:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "podman-swarm-follow-")
	if err != nil {
		return err
	}
	fmt.Printf("follow: %d restarts, %d followers, seed %d\n", o.restarts, o.followers, o.seed)
	audit := filepath.Join(dir, "audit.jsonl")
	a := &trial.Agent{Bin: filepath.Join(o.bin, "podman-swarm-agent"), DataDir: filepath.Join(dir, "data"), Output: filepath.Join(dir, "agent.log"),
		Podman: "unix://" + filepath.Join(dir, "no-podman.sock"), Args: []string{"--recovery-delay=1ms", "--audit-file", audit}}
	began := time.Now()
	all, err := follow(ctx, o, a)
	if err == nil {
		var f *follower
		if f, err = readFile(audit, all[0].last); err == nil {
			all = append(all, f)
		}
	}
	var lost, repeated, connections uint64
	for _, f := range all {
		lost, repeated, connections = lost+f.lost, repeated+f.repeated, connections+f.connections
	}
	if len(all) > 0 {
		fmt.Printf("restarts %d  followers %d and the audit file  connections %d  events %d  lost %d  repeated %d  seed %d  seconds %.0f\n",
			o.restarts, o.followers, connections, all[0].last, lost, repeated, o.seed, time.Since(began).Seconds())
	}
	if err == nil && lost+repeated > 0 {
		err = errors.New("something was lost or repeated")
	}
	if err != nil {
		return fmt.Errorf("%w; see %s; the same again: task follow -- -restarts %d -seed %d", err, dir, o.restarts, o.seed)
	}
	return os.RemoveAll(dir)
}

// follow lets followers follow an agent that is ended again and again, and then until each has all that there is.
func follow(ctx context.Context, o options, a *trial.Agent) (all []*follower, err error) {
	if err := a.Start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.Kill()) }()
	var end atomic.Uint64 // the index of the last event, once nothing is written any more
	together, ctx := errgroup.WithContext(ctx)
	for i := range o.followers {
		f := &follower{url: a.URL(), sse: i%2 == 0, rnd: rand.New(rand.NewPCG(o.seed, uint64(i)+1))}
		all = append(all, f)
		together.Go(func() error { return f.run(ctx, &end) })
	}
	together.Go(func() error {
		rnd := rand.New(rand.NewPCG(o.seed, 0))
		for n := range o.restarts {
			if err := load(ctx, a, rnd, n); err != nil {
				return err
			}
			if err := restart(ctx, a, rnd); err != nil {
				return err
			}
			if (n+1)%10 == 0 {
				fmt.Printf("  %d of %d restarts\n", n+1, o.restarts)
			}
		}
		if err := load(ctx, a, rnd, o.restarts); err != nil {
			return err
		}
		index, err := index(ctx, a)
		end.Store(index)
		return err
	})
	return all, together.Wait()
}

// restart ends the agent and starts it again, and now and then ends it again while it starts.
func restart(ctx context.Context, a *trial.Agent, rnd *rand.Rand) error {
	if rnd.IntN(3) > 0 {
		if err := a.Kill(); err != nil {
			return err
		}
	} else if code, err := a.Terminate(ctx); err != nil || code != 0 {
		return fmt.Errorf("after SIGTERM the agent ended with %d: %w", code, err)
	}
	if err := a.Start(); err != nil {
		return err
	}
	if rnd.IntN(4) == 0 {
		pause(ctx, time.Duration(rnd.IntN(300))*time.Millisecond)
		return errors.Join(a.Kill(), a.Start())
	}
	return nil
}

// load declares something again and again, from when the agent takes it for some time on.
func load(ctx context.Context, a *trial.Agent, rnd *rand.Rand, round int) error {
	client, deadline := a.Client(), time.Now().Add(3*time.Minute)
	for n := 0; n < 20+rnd.IntN(60); {
		doc := fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: s%d, labels: {round: \"%d\", n: \"%d\"}}\nspec: {ports: [{port: 80}]}\n", rnd.IntN(10), round, n)
		_, err := trial.Do(ctx, client, http.MethodPost, a.URL()+"/api/v1/manifests", doc)
		switch {
		case err == nil:
			n++
		case ctx.Err() != nil:
			return ctx.Err()
		case time.Now().After(deadline):
			return fmt.Errorf("the agent takes no changes: %w; it wrote:\n%s", err, a.OutputTail())
		default:
			pause(ctx, 10*time.Millisecond)
		}
	}
	return nil
}

// index is that of the last event, once no more come by themselves.
func index(ctx context.Context, a *trial.Agent) (uint64, error) {
	var was uint64
	for {
		b, err := trial.Do(ctx, a.Client(), http.MethodGet, a.URL()+"/swarm/v1/status", "")
		var st struct{ Index uint64 }
		if err == nil {
			err = json.Unmarshal(b, &st)
		}
		if err != nil || st.Index == was {
			return st.Index, err
		}
		was = st.Index
		pause(ctx, 2*time.Second)
	}
}

// follower follows the log over as many connections as it takes.
type follower struct {
	url string
	sse bool
	rnd *rand.Rand

	position                         string // of the last event that it had
	last                             uint64 // its index
	lost, repeated, connections, had uint64
}

// run follows until it has the event with which the log ends; zero: it has not ended.
func (f *follower) run(ctx context.Context, end *atomic.Uint64) error {
	deadline := time.Time{}
	for {
		last := end.Load()
		if last > 0 && f.last >= last {
			return nil
		}
		if last > 0 && deadline.IsZero() {
			deadline = time.Now().Add(2 * time.Minute)
		}
		if ctx.Err() != nil || !deadline.IsZero() && time.Now().After(deadline) {
			return fmt.Errorf("a follower has event %d, and the last is %d: %w", f.last, last, cmp.Or(ctx.Err(), context.DeadlineExceeded))
		}
		life, cancel := context.WithTimeout(ctx, time.Duration(20+f.rnd.IntN(1500))*time.Millisecond)
		err := f.connect(life)
		cancel()
		var wrong *wrongError
		if errors.As(err, &wrong) {
			return err
		}
		pause(ctx, time.Duration(f.rnd.IntN(50))*time.Millisecond)
	}
}

// wrongError is an answer that no restart explains.
type wrongError struct{ what string }

func (e *wrongError) Error() string { return e.what }

// connect follows over one connection.
func (f *follower) connect(ctx context.Context) error {
	query := "?follow=true"
	if !f.sse && f.position != "" {
		query += "&after=" + f.position
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+"/swarm/v1/events"+query, nil)
	if err != nil {
		return err
	}
	if f.sse {
		q.Header.Set("Accept", "text/event-stream")
		if f.position != "" {
			q.Header.Set("Last-Event-ID", f.position)
		}
	}
	r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		if r.StatusCode < 500 {
			return &wrongError{fmt.Sprintf("from position %q on: %s", f.position, r.Status)}
		}
		return errors.New(r.Status)
	}
	f.connections++
	lines := bufio.NewReader(r.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err // what there is of a line that was cut off is none
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok || !f.sse {
			if !f.sse {
				data = line
			}
			if err := f.take(data); err != nil {
				return err
			}
		}
	}
}

// take takes in one event.
func (f *follower) take(data string) error {
	var e struct {
		Index    uint64
		Position string
		End      json.RawMessage
	}
	if err := json.Unmarshal([]byte(data), &e); err != nil {
		return &wrongError{fmt.Sprintf("%v: %.200s", err, data)}
	}
	if e.End != nil {
		return errors.New("told to come again")
	}
	if e.Index == 0 || e.Position == "" {
		return &wrongError{fmt.Sprintf("no index or position: %.200s", data)}
	}
	switch {
	case e.Index <= f.last:
		f.repeated++
	case e.Index > f.last+1:
		f.lost += e.Index - f.last - 1
	}
	f.last, f.position = max(f.last, e.Index), e.Position
	f.had++
	return nil
}

// readFile reads an audit file, with what was rotated off it.
func readFile(path string, last uint64) (*follower, error) {
	f := &follower{}
	old, err := filepath.Glob(path + ".*")
	if err != nil {
		return nil, err
	}
	slices.Sort(old)
	for _, name := range append(old, path) {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(b)) {
			if err := f.take(line); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if f.last < last {
		f.lost += last - f.last
	}
	return f, nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
