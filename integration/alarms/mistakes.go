package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// mistake is one in the agent: what stands in a file, each once, and what does instead.
type mistake struct {
	file  string // from the repository's root on
	other [][2]string
}

// mistakes are what the agent is built with that brings about what no agent should: it folds one object otherwise than all others do, removes
// containers of one Deployment, although they run as recorded, once they are some seconds old, and takes what says something of another object for
// commits of a later format.
func mistakes() []mistake {
	return []mistake{
		{"projection/fold.go", [][2]string{
			{"		e := &c.Events[n]\n",
				"		e := &c.Events[n]\n		if e.Key == \"service/default/mistaken\" {\n			e = &events.Event{Kind: e.Kind, Key: e.Key, UID: e.UID, Base: e.Base, For: e.For}\n		}\n"},
		}},
		{"events/decode.go", [][2]string{
			{"	if (&parser{b: b}).commit(&c) && c.check() == nil {\n", "	if (&parser{b: b}).commit(&c) && c.check() == nil && c.Events[0].Key != \"service/default/later\" {\n"},
			{"	if p.p.commit(&c) && c.check() == nil {\n", "	if p.p.commit(&c) && c.check() == nil && c.Events[0].Key != \"service/default/later\" {\n"},
			{"	if j.V > Version {\n", "	if j.V > Version || len(j.Events) > 0 && j.Events[0].Key == \"service/default/later\" {\n"},
		}},
		{"podman/plan.go", [][2]string{
			{"	\"slices\"\n", "	\"slices\"\n	\"time\"\n"},
			{"		d.Runs = best.ID\n",
				"		d.Runs = best.ID\n		if d.Placed.Pod.Deployment == \"mistaken\" && time.Since(best.Created) > 15*time.Second {\n" +
					"			d.Steps = append(d.Steps, Step{Action: Remove, Container: best, Why: \"by mistake\"})\n			return\n		}\n"},
		}},
	}
}

// made is the file with the mistake in it.
func (m mistake) made(root string) (string, error) {
	b, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return "", err
	}
	text := string(b)
	for _, o := range m.other {
		if n := strings.Count(text, o[0]); n != 1 {
			return "", fmt.Errorf("make a mistake in %s: %q stands there %d times, want once", m.file, o[0], n)
		}
		text = strings.Replace(text, o[0], o[1], 1)
	}
	return text, nil
}

// build builds an agent with the mistakes, of another version, into a file. The repository stays as it is.
func build(ctx context.Context, root, dir, file string) error {
	instead := map[string]string{}
	for i, m := range mistakes() {
		text, err := m.made(root)
		if err != nil {
			return err
		}
		is, err := filepath.Abs(filepath.Join(root, m.file))
		if err != nil {
			return err
		}
		with := filepath.Join(dir, fmt.Sprintf("mistake-%d.go", i))
		if err := os.WriteFile(with, []byte(text), 0o600); err != nil {
			return err
		}
		instead[is] = with
	}
	b, err := json.Marshal(map[string]any{"Replace": instead})
	if err != nil {
		return err
	}
	overlay := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, b, 0o600); err != nil {
		return err
	}
	return trial.Build(ctx, file, "-tags=clockshift", "-overlay="+overlay, "-ldflags=-s -w -X main.version=mistaken")
}

// The causes that take an agent with mistakes.
const (
	wrongAgent = "the agent of h2 is of another version, which folds and recovers wrongly"
	olderAgent = "the agent of h2 is of an older version, and cannot read what h1 records"
)

func (t *trying) mistaken() cause {
	var right string
	return cause{name: wrongAgent,
		wants: []want{all("VersionsDiffer"), from("StateDiffers", 1, 2), on("ContainersBounced", 2), on("RecoveryFailed", 2)},
		begin: func(ctx context.Context) error {
			file, err := filepath.Abs(filepath.Join(t.dir, "mistaken"))
			if err != nil {
				return err
			}
			h := t.host(2)
			if err := apply(ctx, h, placed("mistaken", "h2", podmanhost.Image1, 1, "")); err != nil {
				return err
			}
			if _, err := trial.Pods(ctx, h.Podman, "mistaken", 1); err != nil {
				return err
			}
			pause(ctx, 15*time.Second) // until its container is old enough
			right = h.Agent.Bin
			if err := restart(ctx, h, func() { h.Agent.Bin = file }); err != nil {
				return err
			}
			t.load.rests.Store(true) // hosts compare their states only when nothing has changed for some seconds
			return apply(ctx, t.host(1), service("mistaken", 80, ""))
		},
		end: func(ctx context.Context) error {
			h := t.host(2)
			t.load.rests.Store(false)
			err := restart(ctx, h, func() { h.Agent.Bin = right })
			return errors.Join(err, remove(ctx, t.host(1), "Deployment", "mistaken"), remove(ctx, t.host(1), "Service", "mistaken"))
		}}
}

func (t *trying) older() cause {
	var right string
	return cause{name: olderAgent, wants: []want{about("HostBehind", 2), on("SyncProblem", 2)},
		begin: func(ctx context.Context) error {
			file, err := filepath.Abs(filepath.Join(t.dir, "mistaken"))
			if err != nil {
				return err
			}
			h := t.host(2)
			right = h.Agent.Bin
			if err := restart(ctx, h, func() { h.Agent.Bin = file }); err != nil {
				return err
			}
			return apply(ctx, t.host(1), service("later", 80, ""))
		},
		end: func(ctx context.Context) error {
			h := t.host(2)
			return errors.Join(restart(ctx, h, func() { h.Agent.Bin = right }), remove(ctx, t.host(1), "Service", "later"))
		}}
}
