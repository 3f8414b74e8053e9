package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// memory measures (g): what the agent holds of the machine's memory, with nothing and with many objects.
func (b *bench) memory(ctx context.Context) (rows []row, err error) {
	s, err := b.openStreet(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	service, err := s.servicePid()
	if err != nil {
		return nil, err
	}
	settle := time.Duration(b.scale(int(20*time.Second), int(2*time.Second)))
	var theirs float64
	measure := func(figure string, most float64) error {
		if err := idle(ctx, settle); err != nil {
			return err
		}
		ours, err := resident(s.agent.Pid(), "VmRSS")
		if err != nil {
			return err
		}
		peak, err := resident(s.agent.Pid(), "VmHWM")
		if err != nil {
			return err
		}
		if theirs, err = resident(service, "VmRSS"); err != nil {
			return err
		}
		r := row{Figure: "g  memory, " + figure, Ours: size(ours), With: "Podman's own service", Theirs: size(theirs), Ratio: ours / theirs}
		rows = append(rows, r.aim(fmt.Sprintf("<= %s", size(most)), ours <= most).note("VmRSS %s after the last change; at most it was %s",
			settle, size(peak)))
		return nil
	}
	if err := s.agent.Up(ctx); err != nil {
		return nil, err
	}
	if err := measure("idle, nothing applied", 60e6); err != nil {
		return nil, err
	}
	n := b.scale(10_000, 500)
	if err := s.apply(ctx, n, 1); err != nil {
		return nil, err
	}
	what := count(n) + " objects of " + count(objectSize) + " bytes"
	if err := measure(what+" applied", 150e6); err != nil {
		return rows, err
	}
	if err := errors.Join(s.agent.Kill(), s.agent.Up(ctx)); err != nil {
		return rows, err
	}
	return rows, measure(what+", started again", 150e6)
}

// idle waits.
func idle(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resident is a figure of a process's memory, in bytes.
func resident(pid int, name string) (float64, error) {
	all, err := numbers(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return float64(all[name]) * 1024, nil // the file counts in kB of 1024
}

// servicePid finds the Podman service of the street: the process that was told its socket.
func (s *street) servicePid() (int, error) {
	names, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return 0, err
	}
	for _, name := range names {
		line, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		args := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
		if filepath.Base(args[0]) == "podman" && args[len(args)-1] == s.host.Socket() {
			return strconv.Atoi(filepath.Base(filepath.Dir(name)))
		}
	}
	return 0, fmt.Errorf("no process is the Podman service at %s", s.host.Socket())
}
