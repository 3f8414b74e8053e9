package trial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Restores has a namespace of its own restored to one of two generations again and again, from backups and from the log, each restore in many
// commits, while the agent (with RestoreArgs) makes and prunes backups and increments, and trims its log, all of it far too often.
type Restores struct {
	Rnd *rand.Rand
	// Clock says how much has happened, for AsOf; nil: nobody asks.
	Clock func() int

	at      [2]uint64 // index of the event after which all of the namespace is of that generation
	backups [2]string // made then, and pinned
	now     int       // generation of all of it, as last answered or seen
	open    int       // that a request without an answer wants; -1: there is none
	turns   []turn

	Done int           // restores that were answered
	Took time.Duration // the last of them, with the backup before it
}

// turn is what the namespace was to be, and when that was asked and answered; the latter zero: it was not.
type turn struct{ generation, asked, answered int }

const (
	restored  = "restored" // the namespace
	objects   = 45
	objectPad = 30_000 // bytes of each
)

// RestoreArgs have an agent do all that is done beside the log far too often, and a restore in some twenty commits.
func RestoreArgs() []string {
	return []string{"--backup-interval", "2s", "--backup-keep-last", fmt.Sprint(KeepLast), "--backup-keep-hourly", "0", "--backup-keep-daily", "0",
		"--backup-keep-weekly", "0", "--backup-compress", "zstd", "--backup-increment-interval", "60ms", "--log-keep", "9MiB",
		"--restore-commit-bytes", "60000"}
}

// KeepLast is how many backups stay that are not pinned.
const KeepLast = 3

// manifest is one object of a generation. What fills it up differs from one to the next, and is a little that zstd makes small.
func (r *Restores) manifest(i, generation int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata:\n  name: o-%d\n  namespace: %s\n  annotations: {generation: \"%d\", pad: \"%s\"}\n"+
		"spec: {selector: {app: o}, ports: [{port: 80}]}\n", i, restored, generation, strings.Repeat(fmt.Sprint(i, generation, "-"), objectPad/4)[:objectPad])
}

// Begin declares both generations, one after the other, with a backup of each.
func (r *Restores) Begin(ctx context.Context, agent string) error {
	r.open = -1
	for g := range 2 {
		for from := 0; from < objects; from += 15 {
			var docs []string
			for i := from; i < from+15; i++ {
				docs = append(docs, r.manifest(i, g))
			}
			a, err := ApplyOnce(ctx, agent, strings.Join(docs, "---\n"))
			if err != nil {
				return fmt.Errorf("declare generation %d: %w", g, err)
			}
			r.at[g] = a.Index
		}
		var made struct{ Name string }
		if err := post(ctx, agent+"/swarm/v1/backups?pin=true", &made); err != nil {
			return fmt.Errorf("back generation %d up: %w", g, err)
		}
		r.backups[g] = made.Name
	}
	r.now = 1
	r.turns = append(r.turns, turn{1, r.clock(), r.clock()})
	return nil
}

// Backup is the name of the backup that was made of a generation.
func (r *Restores) Backup(generation int) string { return r.backups[generation] }

func (r *Restores) clock() int {
	if r.Clock == nil {
		return 0
	}
	return r.Clock()
}

// post takes whichever 2xx.
func post(ctx context.Context, address string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("POST %s: %s", address, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// Run restores until ctx ends or the agent does not answer.
func (r *Restores) Run(ctx context.Context, agent string) {
	for ctx.Err() == nil {
		if r.Once(context.WithoutCancel(ctx), agent) != nil {
			return
		}
	}
}

// Once restores the generation that is not there, and often has a backup made before, so that backups are pruned all the time.
func (r *Restores) Once(ctx context.Context, agent string) error {
	begun := time.Now()
	if r.Rnd.IntN(2) == 0 {
		if err := post(ctx, agent+"/swarm/v1/backups", new(struct{ Name string })); err != nil {
			return err
		}
	}
	only := "only=" + url.QueryEscape("service/"+restored)
	g := 1 - r.now
	address := fmt.Sprintf("%s/swarm/v1/restores?at=%d&%s", agent, r.at[g], only)
	if r.Rnd.IntN(2) == 0 {
		address = fmt.Sprintf("%s/swarm/v1/backups/%s/restore?%s", agent, r.backups[g], only)
	}
	var done struct{ ID string }
	r.open = g
	r.turns = append(r.turns, turn{g, r.clock(), 0})
	if err := post(ctx, address, &done); err != nil {
		return err
	}
	r.now, r.open = g, -1
	r.turns[len(r.turns)-1].answered = r.clock()
	r.Took = time.Since(begun)
	r.Done++
	return nil
}

// AsOf is what was known when so much had happened; nil: both generations were not there yet.
func (r *Restores) AsOf(clock int) *Restores {
	if len(r.turns) == 0 || r.turns[0].answered > clock {
		return nil
	}
	then := &Restores{at: r.at, backups: r.backups, open: -1}
	for _, t := range r.turns {
		switch {
		case t.answered > 0 && t.answered <= clock:
			then.now = t.generation
		case t.asked <= clock:
			then.open = t.generation
		}
	}
	return then
}

// Look waits until no restore is unfinished, and compares. It reads the newest backups too, or, where all says so, every one; and what the namespace was
// once, in whatever has been trimmed off the log since.
func (r *Restores) Look(ctx context.Context, a *Agent, all bool) (report Report, err error) {
	if err := a.Settled(ctx, 0); err != nil {
		return report, err
	}
	agent := a.URL()
	seen, n, err := generations(ctx, agent+"/api/v1/namespaces/"+restored+"/services")
	if err != nil {
		return report, err
	}
	was := fmt.Sprintf("namespace %s: %v, want %d objects of generation %d or %d", restored, seen, objects, r.now, r.open)
	switch {
	case len(seen) != 1 || n != objects:
		report.Partial = append(report.Partial, was)
	case seen[fmt.Sprint(r.now)] == objects:
	case r.open >= 0 && seen[fmt.Sprint(r.open)] == objects:
		r.now = r.open
	default:
		report.Wrong = append(report.Wrong, was)
	}
	r.open = -1
	for g, at := range r.at {
		if ctx.Err() != nil {
			return report, ctx.Err()
		}
		seen, n, err := generations(ctx, fmt.Sprintf("%s/api/v1/namespaces/%s/services?at=%d", agent, restored, at))
		if ctx.Err() == nil && (err != nil || n != objects || seen[fmt.Sprint(g)] != objects) {
			report.Lost = append(report.Lost, fmt.Sprintf("namespace %s at event %d: %v, %v, want %d objects of generation %d", restored, at, seen, err, objects, g))
		}
	}
	more, err := r.whole(ctx, agent, all)
	report.Add(more)
	return report, err
}

// generations lists the namespace, and counts its objects by generation.
func generations(ctx context.Context, address string) (seen map[string]int, n int, err error) {
	var list struct {
		Items []struct {
			Metadata struct{ Annotations struct{ Generation string } }
		}
	}
	if err := GetJSON(ctx, address, &list); err != nil {
		return nil, 0, err
	}
	seen = map[string]int{}
	for _, o := range list.Items {
		seen[o.Metadata.Annotations.Generation]++
	}
	return seen, len(list.Items), nil
}

// Settled waits until the agent knows of so many restores at least, and none is unfinished: for five minutes at most, or until it has ended.
func (a *Agent) Settled(ctx context.Context, least int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	ended := make(chan struct{})
	defer func() { <-ended }()
	go func() {
		defer close(ended)
		select {
		case <-ctx.Done():
		case <-a.ended:
			cancel()
		}
	}()
	defer cancel()
	return settled(ctx, a.URL(), least)
}

func settled(ctx context.Context, agent string, least int) error {
	for {
		n, unfinished, err := known(ctx, agent)
		if err == nil && unfinished == "" && n >= least {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("long after the start there are %d restores, want %d, and %q is unfinished: %w", n, least, unfinished, errors.Join(err, ctx.Err()))
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// known is how many restores the agent knows of, and one that is unfinished.
func known(ctx context.Context, agent string) (n int, unfinished string, err error) {
	var all []struct {
		ID, Over string
		Done     time.Time
	}
	err = GetJSON(ctx, agent+"/swarm/v1/restores", &all)
	for _, x := range all {
		if x.Done.IsZero() && x.Over == "" {
			unfinished = x.ID
		}
	}
	return len(all), unfinished, err
}

// whole reads backups: what stands there under a backup's name is one, whole, and there is at least one.
func (r *Restores) whole(ctx context.Context, agent string, all bool) (report Report, err error) {
	var backups []struct{ Name string }
	if err := GetJSON(ctx, agent+"/swarm/v1/backups", &backups); err != nil {
		return report, err
	}
	names := r.backups[:]
	for _, b := range slices.Backward(backups) {
		if len(names) < 6 || all {
			names = append(names, b.Name)
		}
	}
	for _, name := range names {
		var v struct{ Damage string }
		err := GetJSON(ctx, agent+"/swarm/v1/backups/"+url.PathEscape(name)+"/verify", &v)
		if err != nil && !slices.Contains(r.backups[:], name) && strings.Contains(err.Error(), "404") {
			continue // pruned meanwhile
		}
		if err != nil {
			v.Damage = err.Error()
		}
		if v.Damage != "" {
			report.Wrong = append(report.Wrong, fmt.Sprintf("backup %s: %s", name, v.Damage))
		}
	}
	return report, nil
}
