package api

import (
	"cmp"
	"fmt"
	"strings"
)

// tooLate is how long, in seconds, a host that is alive may lack events before that needs a look.
const tooLate = 5

// problems are what needs a look of the host; of the asked one, what that says of itself stands elsewhere in the status. Whoever shows
// the status, psctl or the page at /ui, has them from here.
func (h *Host) problems() (all []Problem) {
	add := func(worry bool, what, why, do string) {
		if worry {
			all = append(all, Problem{What: what, Why: why, Do: do})
		}
	}
	is := "host " + h.Host + " is " + h.State
	switch h.State {
	case StateSilent:
		add(true, cmp.Or(h.Why, is), "whether what it ran still runs is not known",
			"Is it on, and is the network? If it is dead:  psctl node down "+h.Host+"  moves what it ran")
	case StateStopped:
		add(true, is, h.Why, "To start it, there:  systemctl start podman-swarm-agent")
	case StateDown:
		add(true, is, h.Why, "It counts again when its agent has started; if it never will:  psctl node remove "+h.Host)
	case StateAlive:
		add(!h.Self && h.Podman == "" && h.CPUs > 0, "host "+h.Host, "its Podman does not answer", "There:  systemctl status podman.socket")
		add(!h.Self && h.ReadOnly != "", "host "+h.Host+" is read-only", h.ReadOnly, "Its containers run on; make room there")
		add(!h.Self && h.Behind > tooLate, h.lacked(), fmt.Sprintf("for %.0f s now", h.Behind), "If that lasts, look into the logs of both agents")
	}
	add(strings.HasPrefix(h.Digest, "differs"), "host "+h.Host+" has another state although it has the same events", "it "+h.Digest,
		"Both fold their events anew; if this lasts, keep both logs and report it")
	add(h.Stuck != "", "host "+h.Host, h.Stuck, "")
	return all
}

// lacked says what another host lacks, or the asked one of it.
func (h *Host) lacked() string {
	switch h.Lag {
	case 0:
		return "host " + h.Host + " has something of third hosts that this host lacks"
	case 1:
		return "host " + h.Host + " lacks 1 event, or this host lacks as many of its"
	}
	return fmt.Sprintf("host %s lacks %d events, or this host lacks as many of its", h.Host, h.Lag)
}
