package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	hosts "github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

const (
	askers    = 8                      // who ask at the same time, each on a connection that it keeps
	slice     = 300 * time.Millisecond // how long one way is asked before it is the next one's turn
	shopAddr  = "10.96.200.1"
	nginxAddr = "127.0.0.1:8088"
)

// services measures (s): one container, asked directly, through its Service's address, through the ingress, and through nginx.
func (b *bench) services(ctx context.Context) (rows []row, err error) {
	nginx, err := findNginx()
	if err != nil {
		return nil, err
	}
	s, err := hosts.Open(ctx, hosts.Options{Dir: b.dir, Hosts: 1, Bin: b.bin, Seed: 1, Args: []string{"--recovery-delay", "0s"}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	h := s.Hosts[0]
	if err := h.Up(ctx); err != nil {
		return nil, err
	}
	if _, err := trial.Apply(ctx, h.Client(), h.URL(), trial.Deployment("web", 1, "")+`---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: `+shopAddr+`, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec: {rules: [{http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}
`); err != nil {
		return nil, err
	}
	var pods struct {
		Items []struct{ Status struct{ PodIP string } }
	}
	direct := &way{name: "directly", host: h}
	service := &way{name: "through the address", host: h, url: "http://" + shopAddr + "/"}
	ingress := &way{name: "through the ingress", host: h, url: "http://" + h.Addr() + "/"}
	proxy := &way{name: "through nginx", host: h, url: "http://" + nginxAddr + "/"}
	ready, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := until(ready, 50*time.Millisecond, func() error {
		if err := trial.JSON(ctx, h.Client(), h.URL()+"/api/v1/pods", &pods); err != nil || len(pods.Items) != 1 || pods.Items[0].Status.PodIP == "" {
			return fmt.Errorf("the pod has no address yet: %w", err)
		}
		direct.url = "http://" + pods.Items[0].Status.PodIP + "/"
		return errors.Join(direct.answers(ctx), service.answers(ctx), ingress.answers(ctx))
	}); err != nil {
		return nil, err
	}
	stop, err := runNginx(ctx, h, nginx, b.dir, direct.url)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := until(ready, 50*time.Millisecond, func() error { return proxy.answers(ctx) }); err != nil {
		return nil, err
	}
	ways := []*way{direct, service, ingress, proxy}
	var all []*series
	for _, w := range ways {
		all = append(all, &series{name: w.name, once: func() (time.Duration, error) { return w.ask(ctx) }})
	}
	if err := interleave(ctx, b.scale(20, 2), all...); err != nil {
		return nil, err
	}
	row := func(ours, theirs int, what string) {
		a, o := ways[ours], ways[theirs]
		rows = append(rows,
			newRow(what+", requests", rate(all[ours].perSecond()), o.name, rate(all[theirs].perSecond()), all[ours].perSecond()/all[theirs].perSecond()),
			newRow(what+", p99", span(a.p99()), o.name, span(o.p99()), float64(a.p99())/float64(o.p99())))
	}
	row(1, 0, "s: a Service's address")
	row(2, 0, "s: the ingress")
	row(2, 3, "s: the ingress")
	return rows, nil
}

func newRow(figure, ours, with, theirs string, ratio float64) row {
	return row{Figure: figure, Ours: ours, With: with, Theirs: theirs, Ratio: ratio}
}

// way is one of the ways to a container.
type way struct {
	name, url string
	host      *hosts.Host
	client    *http.Client
	took      []time.Duration
}

func (w *way) answers(ctx context.Context) error {
	_, err := trial.Do(ctx, w.host.Client(), "GET", w.url, "")
	return err
}

// ask has all askers ask for a slice of time, and gives how much of it went to each request.
func (w *way) ask(ctx context.Context) (time.Duration, error) {
	if w.client == nil {
		w.client = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DialContext: w.host.Dial, MaxIdleConnsPerHost: askers}}
	}
	began := time.Now()
	took := make([][]time.Duration, askers)
	var group errgroup.Group
	for i := range askers {
		group.Go(func() error {
			for time.Since(began) < slice {
				at := time.Now()
				if err := w.one(ctx); err != nil {
					return err
				}
				took[i] = append(took[i], time.Since(at))
			}
			return nil
		})
	}
	err := group.Wait()
	lasted, all := time.Since(began), slices.Concat(took...)
	w.took = append(w.took, all...)
	return lasted / time.Duration(max(1, len(all))), err
}

func (w *way) one(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url, nil)
	if err != nil {
		return err
	}
	answer, err := w.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", w.url, answer.Status)
	}
	return nil
}

func (w *way) p99() time.Duration { return (&series{took: w.took}).quantile(0.99) }

// findNginx finds Debian's nginx, which is in no user's path.
func findNginx() (string, error) {
	for _, path := range []string{"/usr/sbin/nginx", "/usr/bin/nginx"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("there is no nginx to compare with: integration/setup.sh tests installs it (Debian: nginx-light)")
}

// runNginx has nginx pass requests on to a URL, in the host's network, on as many connections as it likes to keep.
func runNginx(ctx context.Context, h *hosts.Host, nginx, dir, url string) (stop func() error, err error) {
	if dir, err = os.MkdirTemp(dir, "nginx-"); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, `daemon off; worker_processes 2; pid %[1]s/pid; error_log %[1]s/error.log;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  upstream web { server %[2]s; keepalive 64; }
  server { listen %[3]s; location / { proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
`, dir, url[len("http://"):len(url)-1]+":80", nginxAddr), 0o600); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := h.Command(ctx, nginx, "-c", config, "-e", filepath.Join(dir, "start.log"))
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	return func() error {
		cancel()
		err := cmd.Wait()
		if ctx.Err() != nil {
			return nil // it was killed
		}
		return err
	}, nil
}
