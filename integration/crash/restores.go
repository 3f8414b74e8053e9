package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// restores has a namespace of its own restored to one of two generations again and again, from backups and from the log, while the agent
// makes and prunes backups and increments, and trims its log, all of it far too often; and between its lives its data dir is sealed
// and made plain again. It may be killed in the middle of any of it.
type restores struct {
	rnd     *rand.Rand
	at      [2]uint64 // index of the event after which all of the namespace is of that generation
	backups [2]string // made then, and pinned
	now     int       // generation of all of it, as last answered or seen
	open    int       // that a request without an answer wants; -1: there is none
	sealed  bool

	done, resumed, reseals, sealing int // restores answered; finished by a next start; switches of the form; of those, killed at first
}

const (
	restored  = "restored" // the namespace
	objects   = 45
	objectPad = 110_000 // bytes of each: together more than one commit of a restore takes
)

// restoreArgs has all that is made beside the log made far too often.
var restoreArgs = []string{"--backup-interval", "700ms", "--backup-keep-last", "3", "--backup-keep-hourly", "0", "--backup-keep-daily", "0",
	"--backup-keep-weekly", "0", "--backup-compress", "zstd", "--backup-increment-interval", "150ms", "--log-keep", "24MiB"}

// manifest is one object of a generation. What fills it up differs from one to the next, and is a little that zstd makes small.
func (r *restores) manifest(i, generation int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata:\n  name: o-%d\n  namespace: %s\n  annotations: {generation: \"%d\", pad: \"%s\"}\n"+
		"spec: {selector: {app: o}, ports: [{port: 80}]}\n", i, restored, generation, strings.Repeat(fmt.Sprint(i, generation, "-"), objectPad/4)[:objectPad])
}

// begin declares both generations, one after the other, with a backup of each.
func (r *restores) begin(ctx context.Context, agent string) error {
	r.open = -1
	for g := range 2 {
		for from := 0; from < objects; from += 15 {
			var docs []string
			for i := from; i < from+15; i++ {
				docs = append(docs, r.manifest(i, g))
			}
			a, err := trial.ApplyOnce(ctx, agent, strings.Join(docs, "---\n"))
			if err != nil {
				return fmt.Errorf("declare generation %d: %w", g, err)
			}
			r.at[g] = a.Index
		}
		var made struct{ Name string }
		if err := r.post(ctx, agent+"/swarm/v1/backups?pin=true", &made); err != nil {
			return fmt.Errorf("back generation %d up: %w", g, err)
		}
		r.backups[g] = made.Name
	}
	r.now = 1
	return nil
}

// post takes whichever 2xx.
func (r *restores) post(ctx context.Context, address string, v any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, nil)
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("POST %s: %s", address, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}

// run restores until ctx ends or the agent does not answer.
func (r *restores) run(ctx context.Context, agent string) {
	only := "only=" + url.QueryEscape("service/"+restored)
	for ctx.Err() == nil {
		g := 1 - r.now
		address := fmt.Sprintf("%s/swarm/v1/restores?at=%d&%s", agent, r.at[g], only)
		if r.rnd.IntN(2) == 0 {
			address = fmt.Sprintf("%s/swarm/v1/backups/%s/restore?%s", agent, r.backups[g], only)
		}
		var done struct{ ID string }
		r.open = g
		if r.post(context.WithoutCancel(ctx), address, &done) != nil {
			return
		}
		r.now, r.open = g, -1
		r.done++
	}
}

// look waits until no restore is unfinished, and compares. It reads the newest backups too, or, at the end, all.
func (r *restores) look(ctx context.Context, agent string, all bool) (report trial.Report, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for first := true; ; first = false {
		unfinished, err := r.unfinished(ctx, agent)
		if err != nil {
			return report, err
		}
		if unfinished == "" {
			break
		}
		if first {
			r.resumed++
		}
		select {
		case <-ctx.Done():
			return report, fmt.Errorf("restore %s is unfinished a minute after the start", unfinished)
		case <-time.After(20 * time.Millisecond):
		}
	}
	var list struct {
		Items []struct {
			Metadata struct {
				Name        string
				Annotations struct{ Generation, Pad string }
			}
		}
	}
	if err := trial.GetJSON(ctx, agent+"/api/v1/namespaces/"+restored+"/services", &list); err != nil {
		return report, err
	}
	seen := map[string]int{}
	for _, o := range list.Items {
		seen[o.Metadata.Annotations.Generation]++
	}
	was := fmt.Sprintf("namespace %s: %v, want %d objects of generation %d or %d", restored, seen, objects, r.now, r.open)
	switch {
	case len(seen) != 1 || len(list.Items) != objects:
		report.Partial = append(report.Partial, was)
	case seen[fmt.Sprint(r.now)] == objects:
	case r.open >= 0 && seen[fmt.Sprint(r.open)] == objects:
		r.now = r.open
	default:
		report.Wrong = append(report.Wrong, was)
	}
	r.open = -1
	more, err := r.whole(ctx, agent, all)
	report.Add(more)
	return report, err
}

func (r *restores) unfinished(ctx context.Context, agent string) (id string, err error) {
	var known []struct {
		ID   string
		Done time.Time
	}
	if err := trial.GetJSON(ctx, agent+"/swarm/v1/restores", &known); err != nil {
		return "", err
	}
	for _, x := range known {
		if x.Done.IsZero() {
			return x.ID, nil
		}
	}
	return "", nil
}

// whole reads backups: what stands there under a backup's name is one, whole, and there is at least one.
func (r *restores) whole(ctx context.Context, agent string, all bool) (report trial.Report, err error) {
	var backups []struct{ Name string }
	if err := trial.GetJSON(ctx, agent+"/swarm/v1/backups", &backups); err != nil {
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
		err := trial.GetJSON(ctx, agent+"/swarm/v1/backups/"+url.PathEscape(name)+"/verify", &v)
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

// reseal switches between a sealed and a plain data dir, killed at random moments until once it is not.
func (r *restores) reseal(ctx context.Context, a *trial.Agent) error {
	r.reseals++
	r.sealed = !r.sealed
	args := []string{"reseal", "--data-dir", a.DataDir}
	if !r.sealed {
		args = append(args, "--plain")
	}
	for try := 0; ; try++ {
		cmd := exec.CommandContext(ctx, a.Bin, args...)
		var said strings.Builder
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			return err
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		most := time.Hour
		if try < 3 && r.rnd.IntN(3) > 0 {
			most = time.Duration(r.rnd.Int64N(int64(600 * time.Millisecond)))
		}
		timer := time.NewTimer(most)
		select {
		case err := <-ended:
			timer.Stop()
			if err != nil {
				return fmt.Errorf("podman-swarm-agent %s: %w\n%s", strings.Join(args, " "), err, &said)
			}
			a.Args = slices.DeleteFunc(a.Args, func(s string) bool { return s == "--encrypt-state" })
			if r.sealed {
				a.Args = append(a.Args, "--encrypt-state")
			}
			return nil
		case <-timer.C:
			r.sealing++
			if err := cmd.Process.Signal(syscall.SIGKILL); err != nil && ctx.Err() == nil && !strings.Contains(err.Error(), "finished") {
				return err
			}
			<-ended
		}
	}
}
