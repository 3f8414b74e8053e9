package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// job is the name of the job under which the hosts are scraped, and scraped how often.
const (
	job     = "podman-swarm"
	scraped = 2 * time.Second
)

// prometheus is Debian's Prometheus, which scrapes the hosts of a street: each through a proxy of this process that dials from within the host's
// network, since an agent answers on its own loopback alone.
type prometheus struct {
	url     string
	dir     string
	cmd     *exec.Cmd
	proxies []*http.Server
	serving sync.WaitGroup // the proxies
	agents  []string       // the proxies' addresses
}

// startPrometheus starts it with those rules. It must be closed.
func startPrometheus(ctx context.Context, dir string, rules []byte, hosts []*street.Host) (p *prometheus, err error) {
	p = &prometheus{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("start Prometheus: %w", err), p.close())
		}
	}()
	var targets strings.Builder
	for _, h := range hosts {
		if err := p.proxy(h); err != nil {
			return p, err
		}
		fmt.Fprintf(&targets, "  - {targets: [%q], labels: {instance: %s}}\n", p.agents[h.Number], h.Name)
	}
	file, config := filepath.Join(dir, "rules.yaml"), filepath.Join(dir, "prometheus.yml")
	err = os.WriteFile(config, fmt.Appendf(nil, `global: {scrape_interval: %v, scrape_timeout: %[1]v, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs:
- job_name: %s
  static_configs:
%s`, scraped, file, job, targets.String()), 0o600)
	if err := errors.Join(err, os.WriteFile(file, rules, 0o600)); err != nil {
		return p, err
	}
	if out, err := exec.CommandContext(ctx, "promtool", "check", "config", config).CombinedOutput(); err != nil { // the rules as well
		return p, fmt.Errorf("promtool check config: %w\n%s", err, out)
	}
	addr, err := trial.FreeAddr()
	if err != nil {
		return p, err
	}
	said, err := os.Create(filepath.Join(dir, "prometheus.log"))
	if err != nil {
		return p, err
	}
	defer said.Close()
	p.url = "http://" + addr
	p.cmd = exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+addr,
		"--enable-feature=exemplar-storage,native-histograms")
	p.cmd.Stdout, p.cmd.Stderr = said, said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return p, err
	}
	return p, until(ctx, time.Minute, func() error {
		_, err := trial.Get(ctx, p.url+"/-/ready")
		return err
	})
}

// proxy lets this process's network reach the agent of a host, to read its metrics.
func (p *prometheus) proxy(h *street.Host) error {
	target, err := url.Parse(h.URL())
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{DialContext: h.Dial, MaxIdleConnsPerHost: 1},
		ErrorLog:  log.New(io.Discard, "", 0), // that an agent ends while it answers is what this is about
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}}
	p.proxies, p.agents = append(p.proxies, server), append(p.agents, l.Addr().String())
	p.serving.Go(func() { _ = server.Serve(l) }) // until close
	return nil
}

// close ends it.
func (p *prometheus) close() error {
	var errs []error
	if p.cmd != nil {
		errs = append(errs, p.cmd.Process.Signal(syscall.SIGTERM), p.cmd.Wait())
	}
	for _, s := range p.proxies {
		errs = append(errs, s.Close())
	}
	p.serving.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("end Prometheus: %w", err)
	}
	return nil
}

// get asks its API, and decodes what it gives as data.
func (p *prometheus) get(ctx context.Context, path string, query url.Values, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+"/api/v1/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	var answer struct {
		Data  json.RawMessage
		Error string
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		return fmt.Errorf("%s: %w: %.200s", path, err, b)
	}
	if answer.Error != "" {
		return fmt.Errorf("%s: %s", path, answer.Error)
	}
	return json.Unmarshal(answer.Data, into)
}

// alert is one that is pending or firing.
type alert struct {
	Labels, Annotations map[string]string
	State               string
}

// firing are the alerts that fire now.
func (p *prometheus) firing(ctx context.Context) ([]alert, error) {
	var data struct{ Alerts []alert }
	if err := p.get(ctx, "alerts", nil, &data); err != nil {
		return nil, err
	}
	var all []alert
	for _, a := range data.Alerts {
		if a.State == "firing" {
			all = append(all, a)
		}
	}
	return all, nil
}

// checkMetrics has promtool read what an agent says; "" where it finds nothing wrong.
func (p *prometheus) checkMetrics(ctx context.Context, host int) (said string, err error) {
	text, err := trial.Get(ctx, "http://"+p.agents[host]+"/metrics")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "promtool", "check", "metrics")
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return "", err
	}
	return strings.TrimSpace(string(out)), nil
}

// until asks again and again until there is no error, or the time is up.
func until(ctx context.Context, most time.Duration, ask func() error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		err := ask()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %v: %w", most, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
