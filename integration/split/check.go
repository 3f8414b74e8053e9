package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// check waits until the hosts of a cluster agree and all that is declared runs, and compares what there is then with
// what was promised. What is wrong goes to the report; an error is what keeps it from looking.
func (c *cluster) check(ctx context.Context, t *trying, healed time.Time, blind map[int]bool) error {
	ctx, cancel := context.WithTimeout(ctx, t.deadline)
	defer cancel()
	if err := agree(ctx, c.hosts); err != nil {
		return err
	}
	took := time.Since(healed) // the start of hosts that were off, and the last that clients asked for, are in it
	t.report.mu.Lock()
	t.report.agreed = append(t.report.agreed, took)
	t.report.mu.Unlock()
	first, err := shown(ctx, c.hosts[0])
	if err != nil {
		return err
	}
	for _, h := range c.hosts[1:] {
		there, err := shown(ctx, h)
		if err != nil {
			return err
		}
		if !maps.Equal(there, first) {
			t.report.add(wrong, "round %d: %s shows %v, %s shows %v", t.done+1, c.hosts[0].Name, first, h.Name, there)
		}
	}
	if err := c.checkShared(ctx, t, first, blind); err != nil {
		return err
	}
	c.checkOwn(t, first, blind)
	c.settle(ctx, t)
	return c.remember(context.WithoutCancel(ctx))
}

// checkOwn compares the objects that one writer alone writes, and takes what there is as agreed.
func (c *cluster) checkOwn(t *trying, there map[id]uint64, blind map[int]bool) {
	for _, w := range c.writers {
		w.mu.Lock()
		for _, line := range w.wrong {
			t.report.add(wrong, "round %d: %s", t.done+1, line)
		}
		w.wrong = nil
		for o, own := range w.owned {
			value := there[o]
			want := own.acked[len(own.acked)-1]
			if what := own.judge(value, blind[w.host.Number]); what != "" {
				t.report.add(what, "round %d: %s by %s: is %d, want %d or one of %v", t.done+1, o, w.host.Name, value, want, own.open)
			}
			own.acked, own.open = []uint64{value}, nil
		}
		w.mu.Unlock()
	}
	for o := range there {
		known := strings.HasPrefix(o.name, "shared-")
		for _, w := range c.writers {
			known = known || w.owned[o] != nil
		}
		if !known {
			t.report.add(wrong, "round %d: %s is there, and nobody wrote it", t.done+1, o)
		}
	}
}

// checkShared wants each acknowledged change of what many write to be there, or replaced by somebody who had seen it,
// or listed as a conflict; and nothing to be there that somebody has ended.
func (c *cluster) checkShared(ctx context.Context, t *trying, there map[id]uint64, blind map[int]bool) error {
	witness := c.hosts[0] // whose log has all that happened since the last round
	for _, h := range c.hosts {
		if !blind[h.Number] {
			witness = h
			break
		}
	}
	happened, err := eventsAfter(ctx, witness, c.index[witness.Number])
	if err != nil {
		return err
	}
	conflicts, err := conflictsOf(ctx, witness)
	if err != nil {
		return err
	}
	t.conflicts += len(conflicts) - c.conflicts
	c.conflicts = len(conflicts)
	var shares []written
	for _, w := range c.writers {
		w.mu.Lock()
		shares = append(shares, w.shares...)
		w.shares = nil
		w.mu.Unlock()
	}
	for _, f := range judgeShared(shares, there, happened, conflicts, blind) {
		t.report.add(f.what, "round %d, by the log of %s: %s", t.done+1, witness.Name, f.line)
	}
	return nil
}

// judgeShared says what is wrong with what became of acknowledged changes, by a log that has all that happened since
// they began, and the stamps that are listed as conflicts.
func judgeShared(shares []written, there map[id]uint64, happened []event, conflicts []string, blind map[int]bool) (all []finding) {
	byID, replaced, ended := index(happened)
	for _, s := range shares {
		e := byID[s.commit]
		switch {
		case s.value == 0 || s.value == there[s.id]:
		case e == nil && blind[s.host]: // it went with the disk
		case e == nil:
			all = append(all, finding{lost, fmt.Sprintf("%s by h%d: event %s is not there", s.id, s.host+1, s.commit)})
		case replaced[e.Stamp]:
		case !slices.Contains(conflicts, e.Stamp):
			all = append(all, finding{lost, fmt.Sprintf("%s by h%d: %d, of event %s, lost to %d, which had not seen it, and is not listed as a conflict",
				s.id, s.host+1, s.value, s.commit, there[s.id])})
		}
	}
	for i := range happened {
		e := &happened[i]
		o := id{"Service", e.Key[strings.LastIndexByte(e.Key, '/')+1:]}
		if strings.HasPrefix(e.Key, "service/") && e.value() != 0 && there[o] == e.value() && ended[e.UID] {
			all = append(all, finding{resurrected, fmt.Sprintf("%s with uid %s, which somebody has ended, is there", o, e.UID)})
		}
	}
	return all
}

// index is the events by their ids, the stamps of what somebody replaced or ended who had seen it, and the uids that
// were ended.
func index(all []event) (byID map[string]*event, replaced, ended map[string]bool) {
	byID, replaced, ended = map[string]*event{}, map[string]bool{}, map[string]bool{}
	for i := range all {
		e := &all[i]
		byID[e.id()] = e
		replaced[e.Base] = true
		for _, end := range e.Ends {
			ended[end.UID] = true
			replaced[end.Base] = true
		}
	}
	return byID, replaced, ended
}

// settle waits until the wanted number of replicas of each Deployment runs, none twice, and each answers.
func (c *cluster) settle(ctx context.Context, t *trying) {
	c.waited = ""
	for {
		why := c.unsettled(ctx, t)
		if why == "" {
			return
		}
		c.waited = why
		if errors.Is(ctx.Err(), context.Canceled) {
			return // by whoever stops the trial
		}
		if ctx.Err() != nil {
			t.report.add(wrong, "round %d: after %v: %s", t.done+1, t.deadline, why)
			return
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// unsettled says what is not as it should be yet; "" when all is.
func (c *cluster) unsettled(ctx context.Context, t *trying) string {
	looking, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	wanted, err := deployments(looking, c.hosts[0])
	if err != nil {
		return err.Error()
	}
	runs := map[string]map[string][]string{} // Deployment, pod, hosts
	urls := map[string]*street.Host{}
	for _, h := range c.hosts {
		all, err := running(looking, t.watch.clients[h.Number])
		if err != nil {
			return fmt.Sprintf("what runs on %s: %v", h.Name, err)
		}
		for _, r := range all {
			name := r.pod().name
			of := name[:max(0, strings.LastIndexByte(name, '-'))]
			if runs[of] == nil {
				runs[of] = map[string][]string{}
			}
			runs[of][name] = append(runs[of][name], h.Name)
			for _, p := range r.Ports {
				if p.Container == 80 {
					urls[fmt.Sprintf("http://%s:%d/", h.Addr(), p.Port)] = h
				}
			}
		}
	}
	total := 0
	for _, d := range wanted {
		total += d.Spec.Replicas
		if got := runs[d.Metadata.Name]; len(got) != d.Spec.Replicas {
			return fmt.Sprintf("%s: %d replicas run, want %d: %v", d.Metadata.Name, len(got), d.Spec.Replicas, got)
		}
		for name, hosts := range runs[d.Metadata.Name] {
			if len(hosts) != 1 {
				return fmt.Sprintf("%s runs on %v", name, hosts)
			}
		}
		delete(runs, d.Metadata.Name)
	}
	for of, pods := range runs {
		return fmt.Sprintf("%s is not declared, and runs: %v", of, pods)
	}
	if len(urls) != total {
		return fmt.Sprintf("%d ports are published, want %d", len(urls), total)
	}
	return c.answers(looking, urls)
}

// answers asks every replica from another host, and says which does not answer.
func (c *cluster) answers(ctx context.Context, urls map[string]*street.Host) string {
	for url, at := range urls {
		from := c.hosts[(slices.Index(c.hosts, at)+1)%len(c.hosts)]
		client := from.Client()
		client.Timeout = 2 * time.Second
		if _, err := trial.Do(ctx, client, http.MethodGet, url, ""); err != nil {
			return fmt.Sprintf("from %s: %v", from.Name, err)
		}
	}
	return ""
}

// remember notes how far each host's log is, for the next round.
func (c *cluster) remember(ctx context.Context) error {
	for _, h := range c.hosts {
		r, err := stateOf(ctx, h)
		if err != nil {
			return err
		}
		c.index[h.Number] = r.Index
	}
	return nil
}
