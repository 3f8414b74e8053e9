package projection

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
)

// The types of object by which the hosts of a cluster know of each other: the first part of the key.
const (
	NodeType      = "node"      // node/HOST: declared: what people say of a host
	SightType     = "sight"     // sight/HOST: observed, by that host alone: which of the others it does not hear
	MemberType    = "member"    // member/HOST: trust
	JoinTokenType = "jointoken" // jointoken/ID: trust
	APITokenType  = "apitoken"  // apitoken/NAME: trust
)

// Node is what people say of a host: nothing, until somebody does.
type Node struct {
	Labels        map[string]string `json:"labels,omitempty"` // beside those that the host itself has
	Annotations   map[string]string `json:"annotations,omitempty"`
	Unschedulable bool              `json:"unschedulable,omitempty"` // cordoned: it is given no new replicas
	Draining      bool              `json:"draining,omitempty"`      // and what it has moves elsewhere
	Taints        []corev1.Taint    `json:"taints,omitempty"`
	// Down is when somebody gave their word that the host is dead: what it runs moves at once. It is over when the host
	// has started since.
	Down time.Time `json:"down,omitzero"`
}

// NodeKey is the key under which stands what people say of a host.
func NodeKey(host string) string { return NodeType + "/" + host }

// Sight is which hosts one host does not hear, and since when.
type Sight struct {
	Silent map[string]time.Time `json:"silent,omitempty"`
	// Recovering are those that it hears after it did not, and that have not recovered yet, in order: what they said of their
	// containers is of before that.
	Recovering []string `json:"recovering,omitempty"`
}

// SightKey is the key under which a host says whom it does not hear.
func SightKey(host string) string { return SightType + "/" + host }

// Member is a host's membership of the cluster. Once removed it stays so, whatever it says itself.
type Member struct {
	Removed bool   `json:"removed,omitempty"`
	Why     string `json:"why,omitempty"`
}

// MemberKey is the key of a host's membership.
func MemberKey(host string) string { return MemberType + "/" + host }

// JoinToken is one join token, by its hash.
type JoinToken struct {
	Hash    events.Hash `json:"hash"`             // SHA-256 of the secret
	Expires time.Time   `json:"expires,omitzero"` // zero: when it is rotated
}

// JoinTokenKey is the key of a join token.
func JoinTokenKey(id string) string { return JoinTokenType + "/" + id }

// APIToken is one token for the API, by its hash.
type APIToken struct {
	Hash       events.Hash `json:"hash"`                 // SHA-256 of the secret
	Scope      string      `json:"scope"`                // read, write, admin
	Namespaces []string    `json:"namespaces,omitempty"` // none: all
	Created    time.Time   `json:"created"`
	Expires    time.Time   `json:"expires,omitzero"` // zero: never
}

// APITokenKey is the key of a token for the API.
func APITokenKey(name string) string { return APITokenType + "/" + name }
