package client

import (
	"net/http"
	"strings"
	"time"
)

// Spread has a change be on the disk of several hosts when it is answered. When that takes too long, the change stands, and
// the answer says who has it not. Nil asks for nothing.
type Spread struct {
	WaitFor string        // a number of hosts, the asked one included, or "all"; "": nothing is asked for
	Timeout time.Duration // for how long that is waited for
	OnDisk  []OnDisk      // what became of it, one for each change that it was asked of; an agent that cannot tell leaves Have empty
}

// OnDisk says which hosts have a change on disk.
type OnDisk struct {
	Enough  bool     `json:"enough"`
	Have    []string `json:"have"`
	Missing []string `json:"missing"`
	Dead    []string `json:"dead"` // somebody has said that they are, so that they were not waited for
	Why     string   `json:"why"`  // why not enough have it, if that is said
}

func (s *Spread) ask(h http.Header) {
	if s == nil || s.WaitFor == "" {
		return
	}
	h.Set("Podman-Swarm-Wait-For", s.WaitFor)
	h.Set("Podman-Swarm-Wait-Timeout", s.Timeout.String())
}

func (s *Spread) read(h http.Header) {
	if s == nil || s.WaitFor == "" {
		return
	}
	names := func(header string) []string {
		text := h.Get("Podman-Swarm-" + header)
		if text == "" {
			return nil
		}
		return strings.Split(text, ", ")
	}
	d := OnDisk{Have: names("On-Disk"), Missing: names("Not-On-Disk"), Dead: names("Not-Waited-For")}
	d.Enough = d.Have != nil && h.Values("Podman-Swarm-Not-On-Disk") == nil
	if !d.Enough {
		d.Why = "time was up after " + s.Timeout.String()
	}
	s.OnDisk = append(s.OnDisk, d)
}
