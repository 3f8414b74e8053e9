package authority

import (
	"log/slog"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// repeat is how long the same refusal is not said again: who is shut out tries again and again.
	repeat = time.Minute
	// remembered bounds how many refusals are remembered for that, and so are said within that time: strangers make
	// them up. The others are only counted.
	remembered = 1024
)

// refusals says and counts who was turned away, and why.
type refusals struct {
	log   *slog.Logger
	now   func() time.Time
	count atomic.Uint64

	mu   sync.Mutex
	said map[refusal]time.Time
}

// refusal is one reason to turn one host away.
type refusal struct{ host, node, reason string }

// say counts a refusal, and logs it unless the same was logged just now. remote may be nil, and node "", where they
// are not known.
func (r *refusals) say(remote net.Addr, node string, reason error) {
	r.count.Add(1)
	addr := "unknown"
	if remote != nil {
		addr = remote.String()
	}
	host, _, err := net.SplitHostPort(addr) // each try comes from another port
	if err != nil {
		host = addr
	}
	what := refusal{host, short(node), short(reason.Error())}
	if r.first(what) {
		r.log.Warn("refused a host", "remote", addr, "node", what.node, "reason", what.reason)
	}
}

// short is what is logged of a text that somebody else made up.
func short(text string) string {
	const most = 500
	if len(text) <= most {
		return text
	}
	return text[:most] + "…"
}

func (r *refusals) first(what refusal) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	lately := func(last time.Time) bool { return now.Sub(last).Abs() < repeat }
	if last, ok := r.said[what]; ok && lately(last) {
		return false
	}
	if len(r.said) >= remembered {
		maps.DeleteFunc(r.said, func(_ refusal, last time.Time) bool { return !lately(last) })
	}
	if len(r.said) >= remembered {
		return false
	}
	if r.said == nil {
		r.said = map[refusal]time.Time{}
	}
	r.said[what] = now
	return true
}

// Refused is how many connections were turned away since the start, those included that were not said again.
func (m *Member) Refused() uint64 { return m.refusals.count.Load() }
