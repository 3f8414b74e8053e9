package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/integration/trial"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// working is an agent on a recorded disk, and what it had said, and when: what it took over, what it was restored to, which backups it had made, how its
// data dir was kept, and which changes it had acknowledged.
type working struct {
	bin, dir string // dir is for its output
	seed     uint64

	restores trial.Restores
	reseals  trial.Reseals
	from     int
	begun    int     // there was a backup
	kept     []kept  // how the data dir was
	counted  []count // changes
	ops      []op

	keys       trial.Keys
	taken      int // version 1 had been taken over
	passphrase int // from then on backups were sealed with it; zero: they were not
	lives      []life
}

// kept says that from one moment on the data dir was to be kept in a way, and at another was.
type kept struct {
	asked, done int
	key         events.KeyID
}

// count is what one writer has written last; done zero: without an answer.
type count struct{ writer, n, asked, done int }

const (
	workLives    = 4 // the data dir is resealed between them
	workRestores = 4 // in each
	workWriters  = 2
)

// sealings are how the backups of each life are sealed.
func sealings() [workLives]trial.Sealing {
	return [workLives]trial.Sealing{trial.ForKey, trial.Plain, trial.ForKey, trial.ByPassphrase}
}

func (w *working) data(mount string) string { return filepath.Join(mount, "data") }

func (w *working) agent(mount string) *trial.Agent {
	return &trial.Agent{Bin: filepath.Join(w.bin, "podman-swarm-agent"), DataDir: w.data(mount), Podman: "unix://" + filepath.Join(w.dir, "none.sock"),
		Args: append(trial.RestoreArgs(), "--recovery-delay", "10ms"), Output: filepath.Join(w.dir, "agent.log")}
}

// work has an agent take over a state.json of version 1, then restore, back up, prune and trim, life after life, its data dir resealed in between.
func (w *working) work(ctx context.Context, d *disk, mount string) (_ *trace, err error) {
	a := w.agent(mount)
	a.Args = append(a.Args, trial.SayDoings()...)
	if w.keys, err = trial.LayKeys(w.dir); err != nil {
		return nil, err
	}
	if err := trial.Version1.Lay(a.DataDir, ""); err != nil {
		return nil, err
	}
	if err := syncAll(mount); err != nil {
		return nil, err
	}
	w.from = d.recorded()
	w.restores.Rnd, w.restores.Clock = rand.New(rand.NewPCG(w.seed, 4)), d.recorded
	w.reseals.Rnd = rand.New(rand.NewPCG(w.seed, 5))
	defer func() { err = errors.Join(err, a.Kill()) }()
	for n, sealing := range sealings() {
		if n > 0 {
			k := kept{asked: d.recorded()}
			if err := w.reseals.Next(ctx, a); err != nil {
				return nil, err
			}
			s, err := events.SealingOf(filepath.Join(a.DataDir, "events"))
			if err != nil {
				return nil, err
			}
			k.done, k.key = d.recorded(), s.Key
			w.kept = append(w.kept, k)
		}
		if sealing == trial.ByPassphrase {
			w.passphrase = d.recorded()
		}
		w.keys.Set(a, sealing)
		watch, err := a.Watch()
		if err != nil {
			return nil, err
		}
		if err := errors.Join(w.live(ctx, d, a, n == 0), watch.Read()); err != nil {
			return nil, err
		}
		w.lives = append(w.lives, life{sealing, watch.All, time.Now()})
	}
	d.mu.Lock()
	w.ops = d.ops[:len(d.ops):len(d.ops)]
	d.mu.Unlock()
	fmt.Printf("  %d restores, %d reseals, log trimmed %d times, %d changes\n", w.restores.Done, w.reseals.Done, w.said("the log was trimmed"), len(w.counted))
	return &trace{ops: w.ops, from: w.from, acknowledged: len(w.counted) + w.restores.Done, check: w.check, doings: w.doings(), claims: w.claims()}, nil
}

// syncAll makes all of a file system durable.
func syncAll(mount string) error {
	f, err := os.Open(mount)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}

func (w *working) said(what string) int {
	b, err := os.ReadFile(filepath.Join(w.dir, "agent.log"))
	if err != nil {
		return 0
	}
	return strings.Count(string(b), what)
}

// live is one life of the agent.
func (w *working) live(ctx context.Context, d *disk, a *trial.Agent, first bool) error {
	if err := a.Start(); err != nil {
		return err
	}
	if err := a.Settled(ctx, 1); err != nil {
		return fmt.Errorf("%w; the agent wrote:\n%s", err, a.OutputTail())
	}
	if first {
		w.taken = d.recorded()
	}
	if err := taking(ctx, a.URL()); err != nil {
		return err
	}
	if first {
		if err := w.restores.Begin(ctx, a.URL()); err != nil {
			return err
		}
		w.begun = d.recorded()
	}
	writing, stop := context.WithCancel(ctx)
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make([]error, workWriters)
	for writer := range workWriters {
		wg.Go(func() { errs[writer] = w.count(writing, &mu, d, a.URL(), writer) })
	}
	var err error
	for range workRestores {
		if err = w.restores.Once(ctx, a.URL()); err != nil {
			break
		}
	}
	stop()
	wg.Wait()
	if err = errors.Join(append(errs, err)...); err != nil {
		return err
	}
	_, err = a.Terminate(ctx)
	return err
}

// taking waits until the agent takes changes. It has no Podman here, so it never says that it is ready.
func taking(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := trial.Do(ctx, http.DefaultClient, http.MethodPost, url+"/api/v1/manifests?dryRun=All", counting(0, 0))
		if refused := new(trial.StatusError); !errors.As(err, &refused) || refused.Code != http.StatusServiceUnavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it takes no changes: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func counting(writer, n int) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata:\n  name: count-%d\n  annotations: {generation: \"%d\"}\nspec: {ports: [{port: 80}]}\n", writer, n)
}

// count writes ever larger numbers until ctx ends.
func (w *working) count(ctx context.Context, mu *sync.Mutex, d *disk, url string, writer int) error {
	for ctx.Err() == nil {
		mu.Lock()
		c := count{writer: writer, n: len(w.counted) + 1, asked: d.recorded()}
		w.counted = append(w.counted, c)
		mu.Unlock()
		if _, err := trial.ApplyOnce(context.WithoutCancel(ctx), url, counting(writer, c.n)); err != nil {
			return err
		}
		mu.Lock()
		w.counted[c.n-1].done = d.recorded()
		mu.Unlock()
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
	}
	return nil
}

// check starts the agent on what was left when so much had reached the disk, and compares.
func (w *working) check(ctx context.Context, mount string, at int) (f finding) {
	a := w.agent(mount)
	a.Output = filepath.Join(w.dir, "looking.log")
	w.keys.Set(a, trial.Plain)
	if w.passphrase > 0 && at >= w.passphrase { // else it cannot open what was sealed with it
		w.keys.Set(a, trial.ByPassphrase)
	}
	if err := os.Remove(a.Output); err != nil && !errors.Is(err, os.ErrNotExist) {
		return finding{unopenable: err}
	}
	var report trial.Report
	err := w.look(ctx, a, at, &report)
	if err = errors.Join(err, a.Kill()); err != nil {
		f.unopenable = fmt.Errorf("%w; the agent wrote:\n%s", err, a.OutputTail())
	}
	if said, err := os.ReadFile(a.Output); err == nil {
		f.resumed = strings.Contains(string(said), "going on with a restore that was interrupted")
	}
	f.lost, f.wrong = len(report.Lost), len(report.Partial)+len(report.Wrong)
	if !report.Clean() {
		f.says = errors.New(report.String() + "the agent wrote:\n" + a.OutputTail())
	}
	return f
}

func (w *working) look(ctx context.Context, a *trial.Agent, at int, report *trial.Report) error {
	if err := w.verify(ctx, a, at, report); err != nil {
		return err
	}
	s, err := events.SealingOf(filepath.Join(a.DataDir, "events"))
	if err != nil {
		return err
	}
	if !w.may(s.Key, at) {
		report.Wrong = append(report.Wrong, fmt.Sprintf("the log is sealed with key %v", s.Key))
	}
	if s.Key != (events.KeyID{}) {
		a.Args = append(a.Args, "--encrypt-state")
	}
	if err := a.Start(); err != nil {
		return err
	}
	if err := a.Settled(ctx, 1); err != nil {
		return err
	}
	more, err := trial.Version1.Whole(ctx, a)
	report.Add(more)
	if err != nil {
		return err
	}
	if then := w.restores.AsOf(at); then != nil {
		more, err := then.Look(ctx, a, true)
		report.Add(more)
		if err != nil {
			return err
		}
	}
	for _, left := range []string{"events.reseal", "state.json.reseal", "encryption.key.next"} {
		if _, err := os.Lstat(filepath.Join(a.DataDir, left)); err == nil {
			report.Wrong = append(report.Wrong, left+" is left")
		}
	}
	return w.counts(ctx, a, at, report)
}

// may reports whether the log can be kept so then.
func (w *working) may(key events.KeyID, at int) bool {
	was := events.KeyID{}
	for _, k := range w.kept {
		if k.asked <= at && at < k.done && (key == was || key == k.key || k.key != events.KeyID{}) {
			return true
		}
		if k.done <= at {
			was = k.key
		}
	}
	return key == was
}

// verify has the agent's own command read the backups, before anything is done to them. What is sealed with the passphrase it is to know for whole without that: from
// each backup on it would open all of it anew, a second each.
func (w *working) verify(ctx context.Context, a *trial.Agent, at int, report *trial.Report) error {
	out, err := exec.CommandContext(ctx, a.Bin, "backup", "verify", a.DataDir, "--identity", w.keys.Identity).CombinedOutput()
	if err == nil || at < w.begun && strings.Contains(string(out), "there is no backup") {
		return nil
	}
	whole, wrong := verified(string(out))
	report.Wrong = append(report.Wrong, wrong...)
	if whole == 0 && at >= w.begun {
		report.Lost = append(report.Lost, "there is no whole backup")
	}
	return nil
}

// verified reads what the agent's command says of the backups: how many backups are whole, and what is wrong.
func verified(out string) (whole int, wrong []string) {
	for line := range strings.Lines(out) {
		switch {
		case strings.Contains(line, "is whole"), strings.Contains(line, "its sealed bytes are whole"):
			if strings.HasPrefix(line, "state-backup-") { // and not an increment
				whole++
			}
		case strings.Contains(line, " is of version 1, kept as it was"): // what was taken over
		case strings.Contains(line, "their bytes whole"): // of increments, without the passphrase
		case strings.Contains(line, seal.ErrNoKey.Error()) && !strings.Contains(line, "nor is there"):
			whole++ // a backup is, and goes on with an increment that was not opened
		case strings.TrimSpace(line) != "":
			wrong = append(wrong, "backup verify: "+line)
		}
	}
	return whole, wrong
}

// counts compares the writers' changes.
func (w *working) counts(ctx context.Context, a *trial.Agent, at int, report *trial.Report) error {
	var list struct {
		Items []struct {
			Metadata struct {
				Name        string
				Annotations struct {
					Generation int `json:",string"`
				}
			}
		}
	}
	if err := trial.GetJSON(ctx, a.URL()+"/api/v1/namespaces/default/services", &list); err != nil {
		return err
	}
	for writer := range workWriters {
		least, most, is := 0, 0, 0
		for _, c := range w.counted {
			if c.writer == writer && c.done > 0 && c.done <= at {
				least = c.n
			}
			if c.writer == writer && c.asked <= at {
				most = c.n
			}
		}
		for _, o := range list.Items {
			if o.Metadata.Name == fmt.Sprint("count-", writer) {
				is = o.Metadata.Annotations.Generation
			}
		}
		if is < least || is > most {
			report.Lost = append(report.Lost, fmt.Sprintf("writer %d: %d is there, want %d to %d", writer, is, least, most))
		}
	}
	return nil
}
