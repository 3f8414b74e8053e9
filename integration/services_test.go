package integration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/street"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// shop is a Service with a replica on each of the second and the third host, an Ingress to it, and a client among the
// containers of the first.
func (c *trio) shop(version string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 5
      affinity:
        nodeAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: NotIn, values: [%s]}]}]
      containers:
      - name: web
        image: localhost/podman-swarm-web:1
        ports: [{name: http, containerPort: 80}]
        env: [{name: VERSION, value: "%s"}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{port: 8000, targetPort: http}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop}
spec:
  rules:
  - host: shop.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 8000}}}}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec:
  replicas: 1
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %[1]s}
      terminationGracePeriodSeconds: 1
      containers: [{name: web, image: "localhost/podman-swarm-web:1", ports: [{containerPort: 80, hostPort: 9000}]}]
`, c.Hosts[0].Name, version)
}

// answered is what the client has seen so far.
type answered struct {
	OK, Failed, Open int
	By, Errors       map[string]int
}

func (c *trio) client(ctx context.Context, query string, v any) error {
	h := c.Hosts[0]
	where := "http://" + h.Addr() + ":9000" + query
	if v == nil {
		_, err := trial.Do(ctx, h.Client(), "GET", where, "")
		return err
	}
	return trial.JSON(ctx, h.Client(), where, v)
}

// during counts what the client's requests come to while something is done, and from then on until it has had 50 answers more. Those that
// are without an answer by then are waited for: they fail after 10 s.
func (c *trio) during(t *testing.T, what string, do func()) answered {
	t.Helper()
	must(t, c.client(t.Context(), "/load?every=20ms&url="+url.QueryEscape("http://shop:8000/"), nil))
	var got answered
	until := func(want string, enough func() bool) {
		t.Helper()
		patiently(t, func() error {
			got = answered{}
			if err := c.client(t.Context(), "/loaded", &got); err != nil || !enough() {
				return fmt.Errorf("%s: got %+v, want %s: %w", what, got, want, err)
			}
			return nil
		})
	}
	until("20 answers", func() bool { return got.OK >= 20 })
	do()
	until("its figures", func() bool { return true })
	more := got.OK + 50
	until("50 answers more", func() bool { return got.OK >= more })
	must(t, c.client(t.Context(), "/load?every=0s", nil))
	until("all answered, or failed", func() bool { return got.Open == 0 })
	figure(t, "%s: %d requests answered by %v, %d failed %v", what, got.OK, got.By, got.Failed, got.Errors)
	return got
}

// services asks a Service by its name from a container of a host that has none of its replicas, and an Ingress from each host,
// while what may happen to them does. Failure A.28: endpoints expire 30 s after registration, for ever; the first ingress
// request deadlocks; svc.ns.svc.cluster.local never resolves. Failures B.4 and B.12: after a reboot, or a partition, services
// stay down. Ours: endpoints follow the pods.
func (c *trio) services(t *testing.T) {
	first, second, third := c.Hosts[0], c.Hosts[1], c.Hosts[2]
	c.allReady(t)
	c.ok(t, first, c.shop("1"), "apply", "-f", "-")
	c.settled(t, c.Hosts, "client", 1)
	if on := c.settled(t, c.Hosts, "shop", 2); len(on[1]) != 1 || len(on[2]) != 1 {
		t.Fatalf("the replicas run on %v, want one on each of the last two hosts", on)
	}
	for _, name := range []string{"shop", "shop.default", "shop.default.svc", "shop.default.svc.cluster.local", "shop.default.cluster.local"} {
		must(t, c.client(t.Context(), "/load?every=20ms&url="+url.QueryEscape("http://"+name+":8000/"), nil))
		patiently(t, func() error {
			var got answered
			if err := c.client(t.Context(), "/loaded", &got); err != nil || len(got.By) != 2 {
				return fmt.Errorf("%s: %+v, want answers of both replicas: %w", name, got, err)
			}
			return nil
		})
	}
	c.ingress(t, "1")

	if got := c.during(t, "the agent of the client's host is restarted", func() { c.restart(t, first) }); got.Failed > 0 {
		t.Errorf("a restart of the agent failed %d requests: %v", got.Failed, got.Errors)
	}
	if got := c.during(t, "the agent of a replica's host is restarted", func() { c.restart(t, second) }); got.Failed > 0 {
		t.Errorf("a restart of the agent failed %d requests: %v", got.Failed, got.Errors)
	}
	c.rebooted(t, "a replica's host is rebooted", "1", third)
	if got := c.during(t, "a rolling update", func() {
		c.ok(t, first, c.shop("2"), "apply", "-f", "-")
		c.ok(t, first, "", "rollout", "status", "deployment/shop", "--timeout", "60s")
	}); got.Failed > 0 {
		t.Errorf("a rolling update failed %d requests: %v", got.Failed, got.Errors)
	}
	c.ingress(t, "2")
	got := c.during(t, "a replica is killed", func() {
		on, err := trial.Containers(t.Context(), third.Podman)
		must(t, err)
		for _, o := range trial.OfDeployment(on, "shop") {
			_, err := third.Podman.Podman(t.Context(), "kill", o.ID)
			must(t, err)
		}
		c.settled(t, c.Hosts, "shop", 2)
	})
	if len(got.By) < 2 {
		t.Errorf("after a replica was killed: answers by %v, want both", got.By)
	}
	c.during(t, "a host is cut off", func() {
		c.CutOff(third.Number)
		patiently(t, func() error { return c.endpoints(t.Context(), first, 1) })
	})
	if got := c.during(t, "once that is known", func() {}); got.Failed > 0 {
		t.Errorf("with a host known to be away %d requests failed: %v", got.Failed, got.Errors)
	}
	c.Heal()
	patiently(t, func() error { return c.endpoints(t.Context(), first, 2) })
	c.settled(t, c.Hosts, "shop", 2)
	c.rebooted(t, "all hosts that may run it are rebooted", "2", second, third)
	for _, name := range []string{"shop", "client"} {
		c.ok(t, first, "", "delete", "deployment", name)
	}
	c.ok(t, first, "", "delete", "ingress", "shop")
	c.ok(t, first, "", "delete", "service", "shop")
}

// rebooted takes the power of hosts of the Service away and gives it back. Their Ingresses refuse connections while there is no agent, say
// 503 and when to ask again while there is nobody to hand a request to, and answer from then on, and so do all others; and both replicas
// are behind the Service again.
func (c *trio) rebooted(t *testing.T, what, version string, hosts ...*street.Host) {
	t.Helper()
	c.during(t, what, func() {
		for _, h := range hosts {
			must(t, h.PowerOff())
		}
		for _, h := range hosts {
			must(t, h.PowerOn(t.Context()))
			if _, _, err := c.cart(t.Context(), h); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: the Ingress on %s, before there is an agent: got %v, want it to refuse", what, h.Name, err)
			}
			must(t, h.Start())
		}
		for _, h := range hosts {
			c.answersAgain(t, what, h)
			must(t, h.Agent.Ready(t.Context()))
		}
		c.settled(t, c.Hosts, "shop", 2)
		for _, h := range c.Hosts {
			patiently(t, func() error { return c.endpoints(t.Context(), h, 2) })
		}
		c.ingress(t, version)
	})
	if got := c.during(t, what+", and back", func() {}); got.Failed > 0 || len(got.By) != 2 {
		t.Errorf("%s, and back: answers by %v, want both replicas; %d failed: %v", what, got.By, got.Failed, got.Errors)
	}
}

// restart ends an agent as a service manager does, and starts it again.
func (c *trio) restart(t *testing.T, h *street.Host) {
	t.Helper()
	code, err := h.Agent.Terminate(t.Context())
	must(t, err)
	if code != 0 {
		t.Errorf("the agent of %s ended with %d", h.Name, code)
	}
	must(t, h.Up(t.Context()))
}

// endpoints holds against how many endpoints a host's API has the Service at.
func (c *trio) endpoints(ctx context.Context, h *street.Host, want int) error {
	var all []any
	err := trial.JSON(ctx, h.Client(), h.URL()+"/api/v1/services/default/shop/endpoints", &all)
	if err != nil || len(all) != want {
		return fmt.Errorf("%s has the Service at %v, want %d: %w", h.Name, all, want, err)
	}
	return nil
}

// answersAgain waits until the Ingress on a host whose agent has just been started hands a request on.
func (c *trio) answersAgain(t *testing.T, what string, h *street.Host) {
	t.Helper()
	refused, later := 0, 0
	patiently(t, func() error {
		answer, body, err := c.cart(t.Context(), h)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED) && later == 0: // it does not listen yet
			refused++
			return err
		case err != nil:
			t.Fatalf("%s: the Ingress on %s: %v", what, h.Name, err)
		case answer.StatusCode == http.StatusServiceUnavailable && answer.Header.Get("Retry-After") != "":
			later++
			return fmt.Errorf("the Ingress on %s: %s", h.Name, body)
		case answer.StatusCode != http.StatusOK:
			t.Fatalf("%s: the Ingress on %s: %s %v: %s", what, h.Name, answer.Status, answer.Header, body)
		}
		return nil
	})
	figure(t, "%s: before the Ingress on %s answered 200 it refused %d connections, and said 503 %d times", what, h.Name, refused, later)
}

// ingress asks the Ingress on each host.
func (c *trio) ingress(t *testing.T, version string) {
	t.Helper()
	for _, h := range c.Hosts {
		patiently(t, func() error {
			answer, body, err := c.cart(t.Context(), h)
			if err == nil && (answer.StatusCode != http.StatusOK || !strings.Contains(body, "version "+version+"\npath /cart\n")) {
				err = fmt.Errorf("the Ingress on %s: %s: %s", h.Name, answer.Status, body)
			}
			return err
		})
	}
}

// cart asks the Ingress on a host, from the first.
func (c *trio) cart(ctx context.Context, h *street.Host) (answer *http.Response, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, "GET", "http://"+h.Addr()+"/cart", nil)
	if err != nil {
		return nil, "", err
	}
	request.Host = "shop.example.com"
	client := c.Hosts[0].Client()
	client.Timeout = 10 * time.Second
	if answer, err = client.Do(request); err != nil {
		return nil, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer, string(b), err
}
