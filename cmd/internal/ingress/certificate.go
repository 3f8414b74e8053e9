package ingress

import (
	"crypto/tls"
	"sync"
	"time"

	"github.com/podman-swarm/podman-swarm/projection/discovery"
)

// certificate is one Secret that an Ingress names for TLS, and the newest that could be read of it.
type certificate struct {
	of              *discovery.Ingress
	namespace, name string

	mu      sync.Mutex
	asked   time.Time
	version string
	pair    *tls.Certificate // nil: none could be read yet
	said    string           // what was last logged to be wrong with it
}
