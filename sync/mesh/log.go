package mesh

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"time"
)

const (
	sayWindow   = 10 * time.Minute // in which the same thing is said once, and then counted
	sayFlapping = 5                // times in which it is said that a host comes and goes
	sayKeys     = 1000             // how many different things are told apart: strangers must not fill the memory
)

// natsLog is what embedded NATS logs to. NATS tells of every attempt; people want to be told when something changes.
// So most of it is said at debug level, what matters is said in our words and seldom, and the rest moves watch.
type natsLog struct {
	out    *slog.Logger
	front  *front        // nil: no cluster port; knows whose a connection is that seems to come from loopback
	poke   chan struct{} // something happened to a route
	closed chan closing  // a route that we dialled is closed before its time

	mu     sync.Mutex
	said   map[string]*repeats
	died   error
	why    map[string]string // by node: why its last route ended
	counts map[string]uint64 // refusals by reason
}

type repeats struct {
	n     int
	began time.Time
}

// closing is the end of a connection of ours that was no route yet, or was to a host of our own name.
type closing struct{ addr, reason string }

func newNATSLog(out *slog.Logger) *natsLog {
	return &natsLog{out: out, poke: make(chan struct{}, 1), closed: make(chan closing, 8),
		said: map[string]*repeats{}, why: map[string]string{}, counts: map[string]uint64{}}
}

const (
	debug = slog.LevelDebug
	info  = slog.LevelInfo
	warn  = slog.LevelWarn
)

// say logs, but not the same thing again and again. Two lines are the same if message and key are.
func (l *natsLog) say(level slog.Level, message, key string, attrs ...any) {
	l.seldom(level, 1, message, key, attrs...)
}

func (l *natsLog) seldom(level slog.Level, times int, message, key string, attrs ...any) {
	l.mu.Lock()
	r := l.said[message+key]
	if r == nil || time.Since(r.began) > sayWindow {
		if len(l.said) >= sayKeys {
			clear(l.said)
		}
		if r != nil && r.n > times {
			attrs = append(attrs, "times", r.n-times+1)
		}
		r = &repeats{began: time.Now()}
		l.said[message+key] = r
	}
	r.n++
	silent := r.n > times
	l.mu.Unlock()
	if silent {
		level = debug
	}
	l.out.Log(context.Background(), level, message, attrs...)
}

// refuse counts a connection that was refused, and says so.
func (l *natsLog) refuse(from, why string, err error) {
	l.mu.Lock()
	l.counts[why]++
	l.mu.Unlock()
	level := warn
	if why == refusedName {
		level = errorLevel // nothing will be well until a person has seen to it
	}
	l.say(level, "refused a connection to the cluster port", hostOf(from)+why, "from", from, "why", why, "err", err)
}

// refusals returns how many connections were refused, by reason, all of them.
func (l *natsLog) refusals() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := map[string]uint64{}
	for _, why := range []string{refusedSilent, refusedHello, refusedCrowd, refusedOne, refusedJoin, refusedTalk, refusedTLS, refusedCluster, refusedName} {
		counts[why] = l.counts[why]
	}
	return counts
}

func (l *natsLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.died
}

// Noticef is Logger of nats-server, as are those below.
func (l *natsLog) Noticef(format string, v ...any) { l.line(debug, fmt.Sprintf(format, v...)) }

// Debugf takes what NATS says of its inner life: it moves watch.
func (l *natsLog) Debugf(format string, v ...any) { l.line(debug, fmt.Sprintf(format, v...)) }

// Tracef is not switched on.
func (l *natsLog) Tracef(string, ...any) {}

// Warnf takes what NATS warns of.
func (l *natsLog) Warnf(format string, v ...any) { l.line(warn, fmt.Sprintf(format, v...)) }

// Errorf takes what NATS calls errors, which are warnings to us: it goes on.
func (l *natsLog) Errorf(format string, v ...any) { l.line(warn, fmt.Sprintf(format, v...)) }

// Fatalf takes why the server cannot start.
func (l *natsLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.died = errors.Join(l.died, fmt.Errorf(format, v...))
}

var (
	// 127.0.0.1:40312 - rid:7 - Router connection closed: Stale Connection - Remote: b
	ofRoute    = regexp.MustCompile(`^(\S+:\d+) - rid:\d+ - (?s:(.*))$`)
	closedLine = regexp.MustCompile(`^Router connection closed: ([^-]*?)(?: - Remote: (.*))?$`)
	dialError  = regexp.MustCompile(`^Error trying to connect to route \(attempt \d+\): (.*)$`)
)

// line says one line of NATS.
func (l *natsLog) line(level slog.Level, text string) {
	if m := dialError.FindStringSubmatch(text); m != nil {
		l.say(max(level, warn), "cannot reach another host, and keep trying", m[1], "err", m[1])
		return
	}
	m := ofRoute.FindStringSubmatch(text)
	if m == nil {
		if strings.Contains(text, "InsecureSkipVerify") { // whoever configured it so verifies by a function
			level = debug
		}
		l.say(level, text, "")
		return
	}
	if strings.HasSuffix(text, "Ping Timer") {
		return
	}
	defer l.wake()
	l.ofRoute(level, m[1], m[2])
}

func (l *natsLog) ofRoute(level slog.Level, addr, text string) {
	real, inbound := l.front.whose(addr)
	switch m := closedLine.FindStringSubmatch(text); {
	case m != nil:
		l.out.Debug(text, "peer", real)
		l.mu.Lock()
		l.why[m[2]] = m[1]
		l.mu.Unlock()
		if !inbound && m[1] != "Duplicate Route" && m[1] != "TLS Handshake Failure" && m[1] != "Server Shutdown" {
			select {
			case l.closed <- closing{real, m[2]}:
			default: // there are others to look into; this one will be dialled again
			}
		}
	case level < warn || strings.HasPrefix(text, "Error flushing"): // the route ends, which is said as well
		l.out.Debug(text, "peer", real)
	case inbound && strings.HasPrefix(text, "TLS route handshake error"):
		l.refuse(real, refusedTLS, errors.New(strings.TrimPrefix(text, "TLS route handshake error: ")))
	case inbound && strings.HasPrefix(text, "Rejecting connection, cluster name"):
		l.refuse(real, refusedCluster, errors.New(strings.TrimPrefix(text, "Rejecting connection, ")))
	case inbound && strings.HasPrefix(text, "Remote server has a duplicate name"):
		l.refuse(real, refusedName, errors.New("it has the name of this host: one of the two must be given another"))
	case !inbound && strings.HasPrefix(text, "TLS route handshake error"): // its text tells of our port, which is another each time
		l.say(level, "the connection to another host does not get so far as to be one; trying on", real, "peer", real,
			"err", strings.TrimPrefix(text, "TLS route handshake error: "))
	default:
		l.say(level, text, hostOf(real), "peer", real)
	}
}

// reason takes why the last route to a node ended.
func (l *natsLog) reason(node string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	why := l.why[node]
	delete(l.why, node)
	return why
}

func (l *natsLog) wake() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}
