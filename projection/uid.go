package projection

import (
	"crypto/sha1"
	"fmt"

	"github.com/podman-swarm/podman-swarm/events"
)

// UID is a UUID of version 5, of a text: the same on every host.
func UID(text string) string {
	const space = "\x6f\x1d\x0b\x52\x93\x1e\x4d\x1b\x9c\x55\x70\x6f\x64\x6d\x61\x6e"
	h := sha1.Sum([]byte(space + text))
	h[6] = h[6]&0x0f | 0x50
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// PodUID is the uid of a pod on a host, of the event that created its placement: a replica that moves is another pod of the same name, as
// who waits for the one on the old host to be gone (kubectl drain does) must be able to tell.
func PodUID(id events.ID, host string) string {
	text := "event " + id.String()
	if host != "" {
		text += " on " + host
	}
	return UID(text)
}
