package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	hosts "github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

const (
	handAddr = "10.96.200.2" // of the Service whose endpoint comes and goes
	perOne   = 10            // endpoints of a Service
)

// many is one agent with more and more Services.
type many struct {
	host     *hosts.Host
	pod      string // address of the one container
	services int
}

// many measures (t): what a host of 1,000 Services with 10 endpoints each pays for one change, and how soon it is there, against one of 10.
func (b *bench) many(ctx context.Context) (rows []row, err error) {
	s, err := hosts.Open(ctx, hosts.Options{Dir: b.dir, Hosts: 1, Bin: b.bin, Seed: 1, Args: []string{"--recovery-delay", "0s"}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	m := &many{host: s.Hosts[0]}
	if err := m.start(ctx); err != nil {
		return nil, err
	}
	less, more := 10, b.scale(1000, 30)
	var few, all manyTook
	if few, err = m.measure(ctx, less, b.scale(200, 5), b.scale(10, 2)); err != nil {
		return nil, err
	}
	if all, err = m.measure(ctx, more, b.scale(200, 5), b.scale(10, 2)); err != nil {
		return nil, err
	}
	figure, with := func(what string) string { return "t: " + count(more) + " Services, " + what }, count(less)+" Services"
	times := func(what string, ours, theirs time.Duration) row {
		return newRow(figure(what), span(ours), with, span(theirs), float64(ours)/float64(max(theirs, 1)))
	}
	cost := times("the agent's CPU for one change", all.cpu, few.cpu)
	return []row{
		times("readiness to routed", all.ready.median(), few.ready.median()).note("from when the probe was answered until the Service's address is; at most %s", span(all.ready.quantile(1))),
		times("an endpoint more to routed", all.change.median(), few.change.median()).note("from the acknowledgement on, looked at every millisecond; at most %s", span(all.change.quantile(1))),
		cost.aim("<= 1.5", cost.Ratio <= 1.5),
		newRow(figure("memory"), size(all.rss), with, size(few.rss), all.rss/few.rss).note("%s for each of %s endpoints, which stand in state, log and rules",
			size((all.rss-few.rss)/float64((more-less)*perOne)), count(more*perOne)),
	}, nil
}

// start has the agent run one container, which says when it is ready, and two Services that lead to it.
func (m *many) start(ctx context.Context) error {
	if err := m.host.Up(ctx); err != nil {
		return err
	}
	probed := strings.Replace(trial.Deployment("web", 1, ""), "        ports:", `        readinessProbe: {periodSeconds: 1, failureThreshold: 1, httpGet: {path: /health/ready, port: 80}}
        ports:`, 1)
	if _, err := trial.Apply(ctx, m.host.Client(), m.host.URL(), probed+aService("web", shopAddr, "selector: {app: web}, ")+aService("hand", handAddr, "")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return until(ctx, 50*time.Millisecond, func() error {
		var pods struct {
			Items []struct{ Status struct{ PodIP string } }
		}
		if err := trial.JSON(ctx, m.host.Client(), m.host.URL()+"/api/v1/pods", &pods); err != nil || len(pods.Items) != 1 || pods.Items[0].Status.PodIP == "" {
			return fmt.Errorf("the pod has no address yet: %w", err)
		}
		m.pod = pods.Items[0].Status.PodIP
		return m.answers(ctx, shopAddr)
	})
}

func aService(name, address, selector string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {%sclusterIP: %q, ports: [{port: 80}]}\n", name, selector, address)
}

// endpoints is a manifest of the endpoints of a Service without a selector.
func endpoints(name string, addresses ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: %s}\nsubsets: [", name)
	if len(addresses) > 0 {
		fmt.Fprintf(&b, "{addresses: [{ip: %s}], ports: [{port: 80}]}", strings.Join(addresses, "}, {ip: "))
	}
	return b.String() + "]\n"
}

// grow adds Services up to n, a hundred at a time.
func (m *many) grow(ctx context.Context, n int) error {
	for m.services < n {
		var b strings.Builder
		for range min(100, n-m.services) {
			addresses := make([]string, perOne)
			for j := range addresses {
				at := m.services*perOne + j
				addresses[j] = fmt.Sprintf("198.18.%d.%d", at>>8, at&255)
			}
			name := fmt.Sprintf("s%d", m.services)
			b.WriteString(aService(name, "", "") + endpoints(name, addresses...))
			m.services++
		}
		if _, err := trial.Apply(ctx, m.host.Client(), m.host.URL(), b.String()); err != nil {
			return err
		}
	}
	return nil
}

// manyTook is what was measured with one number of Services.
type manyTook struct {
	ready, change series
	cpu           time.Duration // of a change
	rss           float64
}

func (m *many) measure(ctx context.Context, n, changes, readies int) (took manyTook, err error) {
	if err := m.grow(ctx, n); err != nil {
		return took, err
	}
	if err := idle(ctx, 5*time.Second); err != nil { // until nothing of it is on its way
		return took, err
	}
	before, err := ran(m.host.Agent.Pid())
	if err != nil {
		return took, err
	}
	for range changes {
		d, err := m.endpoint(ctx)
		if err != nil {
			return took, err
		}
		took.change.took = append(took.change.took, d)
	}
	after, err := ran(m.host.Agent.Pid())
	if err != nil {
		return took, err
	}
	took.cpu = (after - before) / time.Duration(2*changes) // as many go as come
	for range readies {
		d, err := m.readiness(ctx)
		if err != nil {
			return took, err
		}
		took.ready.took = append(took.ready.took, d)
	}
	took.rss, err = resident(m.host.Agent.Pid(), "VmRSS")
	return took, err
}

// endpoint gives a Service its endpoint, and takes it away again: how long it took to be routed to.
func (m *many) endpoint(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, err := trial.Apply(ctx, m.host.Client(), m.host.URL(), endpoints("hand", m.pod)); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := until(ctx, time.Millisecond, func() error { return m.answers(ctx, handAddr) }); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if _, err := trial.Apply(ctx, m.host.Client(), m.host.URL(), endpoints("hand")); err != nil {
		return 0, err
	}
	return took, until(ctx, time.Millisecond, func() error { return m.refuses(ctx, handAddr) })
}

// readiness makes the container unready and ready again: how long it took to be routed to from when its probe was answered.
func (m *many) readiness(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	set := func(code int) error {
		_, err := trial.Do(ctx, m.host.Client(), http.MethodGet, fmt.Sprintf("http://%s/health/ready?set=%d", m.pod, code), "")
		return err
	}
	if err := set(http.StatusServiceUnavailable); err != nil {
		return 0, err
	}
	if err := until(ctx, time.Millisecond, func() error { return m.refuses(ctx, shopAddr) }); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := set(http.StatusOK); err != nil {
		return 0, err
	}
	if err := until(ctx, time.Millisecond, func() error { return m.answers(ctx, shopAddr) }); err != nil {
		return 0, err
	}
	routed := time.Now()
	var ready time.Time
	err := until(ctx, 10*time.Millisecond, func() (err error) { // the log may be behind the state by an fsync
		if ready, err = m.readied(ctx); err == nil && ready.Before(began) {
			return errors.New("nothing says that it is ready again")
		}
		return err
	})
	return routed.Sub(ready), err // one clock
}

// readied is when the container became ready for the last time, by the log.
func (m *many) readied(ctx context.Context) (last time.Time, err error) {
	told, err := trial.Do(ctx, m.host.Client(), http.MethodGet, m.host.URL()+"/swarm/v1/events?kind=observed", "")
	if err != nil {
		return last, err
	}
	for line := range bytes.Lines(told) {
		var e struct {
			Object struct{ Readied time.Time }
		}
		if err := json.Unmarshal(line, &e); err != nil {
			return last, fmt.Errorf("%s: %w", line, err)
		}
		if e.Object.Readied.After(last) {
			last = e.Object.Readied
		}
	}
	return last, nil
}

func (m *many) answers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := trial.Do(ctx, m.host.Client(), http.MethodGet, "http://"+address+"/", "")
	return err
}

func (m *many) refuses(ctx context.Context, address string) error {
	err := m.answers(ctx, address)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	return errors.Join(fmt.Errorf("%s is not refused", address), err)
}

// ran is how much CPU a process has had, to a tick of 10 ms.
func ran(pid int) (time.Duration, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(line[bytes.LastIndexByte(line, ')')+1:])) // from the third on
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
