package authority

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// Protocol is the ALPN name of the talk of this package, on the port that it shares with the routes.
const Protocol = "podman-swarm-join/1"

const (
	maxMessage = 64 << 10         // bytes of a request, of an answer, of the line before the handshake
	patience   = 10 * time.Second // for the whole talk
)

const (
	opJoin  = "join"
	opHello = "hello"
)

// request is all that a host says. Fields that this version does not know are passed over.
type request struct {
	Op        string      `json:"op"`
	Node      string      `json:"node"`
	Instance  string      `json:"instance,omitempty"` // of this life of the host
	Version   string      `json:"version,omitempty"`  // of its agent
	Cluster   string      `json:"cluster,omitempty"`  // join: the name that it takes the cluster to have
	Authority events.Hash `json:"authority"`          // that it takes the other end to be of
	Token     string      `json:"token,omitempty"`    // join: only over a connection whose other end it knows to be of Authority
	CSR       []byte      `json:"csr,omitempty"`      // join: PKCS #10, in DER, for Node
}

// answer is all that a member says back: why not, or what was asked for.
type answer struct {
	Error       string   `json:"error,omitempty"`
	Again       bool     `json:"again,omitempty"`       // the error is one of this moment
	InUse       bool     `json:"in_use,omitempty"`      // join: the error is ErrInUse
	Addresses   []string `json:"addresses,omitempty"`   // of members
	Certificate []byte   `json:"certificate,omitempty"` // join: the node's, in DER
	Authority   []byte   `json:"authority,omitempty"`   // join: its certificate, in DER
	Key         []byte   `json:"key,omitempty"`         // join: the authority's, PKCS #8 in DER
	Secrets     [][]byte `json:"secrets,omitempty"`     // join: what Server.Secrets gives
}

// decodeRequest reads one request, of a size that is bounded.
func decodeRequest(r io.Reader) (request, error) {
	var q request
	if err := decodeMessage(r, &q); err != nil {
		return request{}, fmt.Errorf("its request: %w", err)
	}
	return q, nil
}

// decodeAnswer reads one answer, of a size that is bounded.
func decodeAnswer(r io.Reader) (answer, error) {
	var a answer
	if err := decodeMessage(r, &a); err != nil {
		return answer{}, fmt.Errorf("its answer: %w", err)
	}
	return a, nil
}

func decodeMessage(r io.Reader, into any) error {
	limited := &io.LimitedReader{R: r, N: maxMessage}
	err := json.NewDecoder(limited).Decode(into)
	switch {
	case err != nil && limited.N == 0:
		return fmt.Errorf("longer than %d bytes", maxMessage)
	case errors.Is(err, io.EOF):
		return errors.New("it said nothing")
	}
	return err
}
