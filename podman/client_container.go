package podman

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// listed is a container as Podman lists it.
type listed struct {
	ID        string `json:"Id"`
	Names     []string
	Labels    map[string]string
	State     Status
	ImageID   string
	Created   time.Time
	StartedAt int64 // seconds; -62135596800 for never
	ExitedAt  int64
	ExitCode  int
	Ports     []struct {
		HostIP    string `json:"host_ip"`
		Container int    `json:"container_port"`
		Host      int    `json:"host_port"`
		Range     int
		Protocol  string
	}
}

// List implements Engine.
func (c *Client) List(ctx context.Context, label, value string) ([]Container, error) {
	var all []listed
	query := url.Values{"all": {"true"}}
	if label != "" {
		query.Set("filters", filters("label", label+"="+value))
	}
	if err := c.call(ctx, request{method: http.MethodGet, path: "/containers/json", query: query}, &all); err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	there := make([]Container, 0, len(all))
	for _, l := range all {
		there = append(there, l.container())
	}
	return there, nil
}

func (l *listed) container() Container {
	c := Container{ID: l.ID, Labels: l.Labels, Status: l.State, Image: l.ImageID, Created: l.Created,
		Started: seconds(l.StartedAt), Finished: seconds(l.ExitedAt), ExitCode: l.ExitCode}
	if len(l.Names) > 0 {
		c.Name = l.Names[0]
	}
	for _, p := range l.Ports {
		for proto := range strings.SplitSeq(p.Protocol, ",") {
			for i := range max(1, p.Range) {
				c.Ports = append(c.Ports, projection.Port{
					Container: p.Container + i, Host: p.Host + i, HostIP: strings.TrimPrefix(p.HostIP, "0.0.0.0"), Protocol: strings.ToUpper(proto)})
			}
		}
	}
	sortPorts(c.Ports)
	return c
}

func seconds(unix int64) time.Time {
	if unix <= 0 {
		return time.Time{}
	}
	return time.Unix(unix, 0).UTC()
}

// inspected is a container as Podman shows a single one.
type inspected struct {
	ID      string `json:"Id"`
	Name    string
	Image   string
	Created time.Time
	State   struct {
		Status                Status
		OOMKilled             bool
		ExitCode              int
		StartedAt, FinishedAt time.Time
	}
	Config struct {
		Labels      map[string]string
		StopTimeout int64
	}
	NetworkSettings struct {
		IPAddress string
		Networks  map[string]struct{ IPAddress string }
	}
	HostConfig struct {
		PortBindings map[string][]struct{ HostIP, HostPort string } // by "80/tcp"
	}
}

// Inspect implements Engine.
func (c *Client) Inspect(ctx context.Context, container string) (Container, error) {
	var i inspected
	if err := c.call(ctx, request{method: http.MethodGet, path: "/containers/%s/json", args: []string{container}}, &i); err != nil {
		return Container{}, fmt.Errorf("inspect container %s: %w", container, err)
	}
	there := Container{ID: i.ID, Name: i.Name, Labels: i.Config.Labels, Status: i.State.Status, Image: i.Image,
		Created: i.Created, Started: instant(i.State.StartedAt), Finished: instant(i.State.FinishedAt), ExitCode: i.State.ExitCode,
		OOMKilled: i.State.OOMKilled, IP: i.NetworkSettings.IPAddress, Grace: time.Duration(i.Config.StopTimeout) * time.Second}
	for _, name := range slices.Sorted(maps.Keys(i.NetworkSettings.Networks)) {
		there.IP = cmp.Or(there.IP, i.NetworkSettings.Networks[name].IPAddress)
	}
	for port, bindings := range i.HostConfig.PortBindings {
		number, proto, _ := strings.Cut(port, "/")
		inside, err := strconv.Atoi(number)
		if err != nil {
			return Container{}, fmt.Errorf("inspect container %s: port %q: %w", container, port, err)
		}
		for _, b := range bindings { // Podman 5 says 0.0.0.0 where 4 says nothing, and where its own list says nothing
			host, err := strconv.Atoi(b.HostPort)
			if err != nil {
				return Container{}, fmt.Errorf("inspect container %s: host port %q: %w", container, b.HostPort, err)
			}
			there.Ports = append(there.Ports, projection.Port{
				Container: inside, Host: host, HostIP: strings.TrimPrefix(b.HostIP, "0.0.0.0"), Protocol: strings.ToUpper(proto)})
		}
	}
	sortPorts(there.Ports)
	return there, nil
}

// instant is t, or the zero time for what Podman has for "never".
func instant(t time.Time) time.Time {
	if t.Unix() <= 0 {
		return time.Time{}
	}
	return t.UTC()
}

func sortPorts(ports []projection.Port) {
	slices.SortFunc(ports, func(a, b projection.Port) int {
		return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Host, b.Host))
	})
}

// Create implements Engine.
func (c *Client) Create(ctx context.Context, spec *Spec) (string, error) {
	var made struct {
		ID string `json:"Id"`
	}
	if err := c.call(ctx, request{method: http.MethodPost, path: "/containers/create", body: spec}, &made); err != nil {
		return "", fmt.Errorf("create container %s: %w", spec.Name, err)
	}
	return made.ID, nil
}

// Start implements Engine.
func (c *Client) Start(ctx context.Context, container string) error {
	err := c.call(ctx, request{method: http.MethodPost, path: "/containers/%s/start", args: []string{container}}, nil)
	if err != nil {
		return fmt.Errorf("start container %s: %w", container, err)
	}
	return nil
}

// Stop implements Engine.
func (c *Client) Stop(ctx context.Context, container string, grace time.Duration) error {
	query := url.Values{"ignore": {"true"}}
	if grace > 0 {
		query.Set("timeout", strconv.FormatInt(int64((grace+time.Second-1)/time.Second), 10))
	}
	err := c.call(ctx, request{method: http.MethodPost, path: "/containers/%s/stop", args: []string{container}, query: query}, nil)
	if absent(err) != nil {
		return fmt.Errorf("stop container %s: %w", container, err)
	}
	return nil
}

// Remove implements Engine.
func (c *Client) Remove(ctx context.Context, container string) error {
	var removed []struct{ Err any }
	// volumes: those alone that Podman has made by itself, since the image wants them.
	err := c.call(ctx, request{method: http.MethodDelete, path: "/containers/%s", args: []string{container},
		query: url.Values{"force": {"true"}, "timeout": {"0"}, "volumes": {"true"}}}, &removed)
	if absent(err) != nil {
		return fmt.Errorf("remove container %s: %w", container, err)
	}
	for _, r := range removed { // some versions say in a 200 that it did not work
		if r.Err != nil && fmt.Sprint(r.Err) != "" {
			return fmt.Errorf("remove container %s: %w", container, &Refusal{Message: fmt.Sprint(r.Err)})
		}
	}
	return nil
}
