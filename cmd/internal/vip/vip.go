package vip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// Mode is by what the virtual addresses answer.
type Mode string

// The modes. DESIGN.md says what each can do.
const (
	Auto      Mode = ""           // Kernel where this process may, and UserSpace otherwise
	Kernel    Mode = "kernel"     // rules of nftables; needs CAP_NET_ADMIN
	UserSpace Mode = "user-space" // a proxy in this process, on loopback addresses; needs nothing
)

// DefaultLoopback is where, in mode UserSpace, the addresses are that stand for the virtual ones: 127.96.3.7 for 10.96.3.7.
var DefaultLoopback = netip.MustParsePrefix("127.96.0.0/12")

// Rules are the virtual addresses of one host. The exported fields are its configuration, and must not change once Run
// has begun. Its methods are safe for concurrent use.
type Rules struct {
	Source  discovery.Source
	Host    string       // this host's name, as endpoints have it
	Cluster string       // its cluster's name: the table is podman_swarm_CLUSTER; two clusters on one host must differ in it
	CIDR    netip.Prefix // of all virtual addresses; Check says which will do
	Mode    Mode
	// Loopback is where addresses stand for those of CIDR, in mode UserSpace; zero: DefaultLoopback. It lies in 127.0.0.0/8.
	Loopback netip.Prefix
	Log      *slog.Logger
	Metrics  *Metrics // nil: nothing is counted

	mu       sync.Mutex
	mode     Mode // once it is chosen
	ready    chan struct{}
	problems map[string]string // by what they are about
}

// Check gives why the addresses of a cluster's Services cannot be taken from cidr; nil when they can.
func Check(cidr netip.Prefix) error {
	switch {
	case !cidr.IsValid() || !cidr.Addr().Is4():
		return errors.New("want a network of IPv4 addresses such as 10.96.0.0/16")
	case cidr != cidr.Masked():
		return fmt.Errorf("has bits set beyond the first %d: did you mean %s?", cidr.Bits(), cidr.Masked())
	case cidr.Bits() < 8 || cidr.Bits() > 27:
		return errors.New("want a network between /8 and /27")
	case cidr.Overlaps(loopback) || cidr.Addr().IsMulticast() || cidr.Addr().Is4() && cidr.Addr().As4()[0] == 0:
		return errors.New("want a network of addresses that hosts may have")
	}
	return nil
}

// Resolver is the address of the DNS server among the Services' addresses: the tenth, such as 10.96.0.10. cidr must be one
// that passes Check.
func Resolver(cidr netip.Prefix) netip.Addr { return nth(cidr, 10) }

// Stand is the loopback address that stands for a virtual one in mode UserSpace: as far into stands (zero: DefaultLoopback) as
// ip is into cidr. Where stands is the smaller, two virtual addresses can have one stand; the zero Addr when ip is not in cidr.
func Stand(cidr, stands netip.Prefix, ip netip.Addr) netip.Addr {
	if ip = ip.Unmap(); !cidr.Contains(ip) {
		return netip.Addr{}
	}
	if !stands.IsValid() {
		stands = DefaultLoopback
	}
	return nth(stands, number(ip)-number(cidr.Masked().Addr()))
}

func nth(p netip.Prefix, n uint32) netip.Addr {
	n = number(p.Masked().Addr()) | n&(1<<(32-p.Bits())-1)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

func number(ip netip.Addr) uint32 {
	b := ip.As4()
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

// Run keeps the host's virtual addresses as Source has them, until ctx ends; the error is ctx's, or says why there can be
// none at all, now and later. Whatever else is in the way is logged, is in Problems, and is tried again. In mode Kernel all
// that was set up stays when Run returns, and when the process ends in whatever way: Cleanup removes it.
func (r *Rules) Run(ctx context.Context) error {
	if err := Check(r.CIDR); err != nil {
		return fmt.Errorf("serve the virtual addresses in %s: %w", r.CIDR, err)
	}
	mode, why := r.choose()
	r.mu.Lock()
	r.mode = mode
	r.mu.Unlock()
	switch mode {
	case Kernel:
		r.Log.Info("virtual addresses are served by the kernel", "cidr", r.CIDR, "table", TableName(r.Cluster), "resolver", Resolver(r.CIDR))
		return (&kernel{rules: r, table: newTable(r.Cluster, r.CIDR), metrics: r.Metrics}).run(ctx)
	case UserSpace:
		stands := r.Loopback
		if !stands.IsValid() {
			stands = DefaultLoopback
		}
		if !loopback.Contains(stands.Addr()) || stands.Bits() < loopback.Bits() {
			return fmt.Errorf("serve the virtual addresses at %s: want a network in 127.0.0.0/8, where every address is this host's", stands)
		}
		if r.Mode == Auto && os.Geteuid() == 0 { // who is not root knows what that costs; root has seen nothing go wrong
			r.problem(aboutTable, fmt.Sprintf("they answer on loopback addresses of this host alone, and their names are not answered, though the agent is root's: %s; "+
				"it needs CAP_NET_ADMIN (CapabilityBoundingSet= in its unit of systemd, --cap-add in a container) and nftables in the kernel, and looks again when it is restarted", why))
		}
		r.Log.Warn("virtual addresses are served by a proxy, on loopback addresses of this host alone: containers reach NodePorts only, and connections end with the agent",
			"why", why, "cidr", r.CIDR, "at", stands)
		return (&proxy{rules: r, stands: stands, metrics: r.Metrics}).run(ctx)
	}
	return fmt.Errorf("serve the virtual addresses: there is no mode %q: want %s or %s", r.Mode, Kernel, UserSpace)
}

// choose gives the mode, and why it is not Kernel.
func (r *Rules) choose() (Mode, string) {
	if r.Mode != Auto {
		return r.Mode, "it was asked for"
	}
	if err := possible(); err != nil {
		return UserSpace, err.Error()
	}
	return Kernel, ""
}

// Chosen is the mode that Run has chosen; Auto while it has not.
func (r *Rules) Chosen() Mode {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mode
}

// Ready is closed once the virtual addresses of the Services that were known when Run began answer. In mode Kernel the
// resolver's address is the host's by then, so that one can listen there.
func (r *Rules) Ready() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ready == nil {
		r.ready = make(chan struct{})
	}
	return r.ready
}

func (r *Rules) setReady() {
	ready := r.Ready()
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-ready:
	default:
		close(r.ready)
	}
}

// Problems says, for people, what is not as it should be now, and what to do; nothing when all is.
func (r *Rules) Problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []string
	for _, p := range r.problems {
		all = append(all, p)
	}
	slices.Sort(all)
	return all
}

// Answering reports whether the virtual addresses are served as the newest table has them, as far as this host can tell: what Problems says besides is in
// the way of some of those who ask.
func (r *Rules) Answering() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, all := range []string{aboutRoute, aboutTable, aboutClaim} {
		if r.problems[all] != "" {
			return false
		}
	}
	return true
}

// What problems of are that keep all virtual addresses from being served.
const (
	aboutRoute = "route"
	aboutTable = "table"
	aboutClaim = "claim"
)

// problem says that something is in the way of what is named by about, and logs it when it is new; an empty text says
// that nothing is any more.
func (r *Rules) problem(about, text string) {
	r.mu.Lock()
	was := r.problems[about]
	if r.problems == nil {
		r.problems = map[string]string{}
	}
	if text == "" {
		delete(r.problems, about)
	} else {
		r.problems[about] = text
	}
	r.mu.Unlock()
	if text != "" && text != was {
		r.Log.Warn("virtual addresses", "problem", text)
	}
}

// follow gives the source's news to use, until ctx ends; each is answered before the next is asked for.
func follow(ctx context.Context, source discovery.Source, use func(discovery.News)) {
	var after *discovery.Table
	for {
		news, err := source.Next(ctx, after)
		if err != nil {
			return
		}
		use(news)
		after = news.Table
	}
}

// Metrics counts what Rules do. A nil one counts nothing.
type Metrics struct {
	changes prometheus.Histogram
	mended  prometheus.Counter
	ports   prometheus.Gauge
}

// NewMetrics registers the metrics of Rules: podman_swarm_vip_change_seconds, podman_swarm_vip_mended_total and
// podman_swarm_vip_ports. It panics where they are registered already.
func NewMetrics(to prometheus.Registerer) *Metrics {
	const namespace, subsystem = "podman_swarm", "vip"
	m := &Metrics{
		changes: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: namespace, Subsystem: subsystem, Name: "change_seconds",
			Help:    "Time that it took to make a change of Services or their endpoints true for new connections.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2, 15)}),
		mended: prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Subsystem: subsystem, Name: "mended_total",
			Help: "How often the rules were written again because somebody else had changed or removed them."}),
		ports: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: namespace, Subsystem: subsystem, Name: "ports",
			Help: "Ports of Services with a virtual address."}),
	}
	to.MustRegister(m.changes, m.mended, m.ports)
	return m
}

func (m *Metrics) took(begun time.Time) {
	if m != nil {
		m.changes.Observe(time.Since(begun).Seconds())
	}
}

func (m *Metrics) mend() {
	if m != nil {
		m.mended.Inc()
	}
}

// more counts ports that are served besides, less than none where some are no longer.
func (m *Metrics) more(ports int) {
	if m != nil {
		m.ports.Add(float64(ports))
	}
}

func (m *Metrics) all(ports int) {
	if m != nil {
		m.ports.Set(float64(ports))
	}
}

func portText(p uint16) string { return strconv.Itoa(int(p)) }
