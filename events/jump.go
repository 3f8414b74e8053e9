package events

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Jump is a record that is no commit of anybody's, but this log's own word: from here on, the state is the given one,
// whatever was folded before, and the next commit of each incarnation follows on its given head. A host writes one when
// another told it its state, since the commits in between are nowhere to be had any more, and when commits that it had
// turned out not to be what all others know by their numbers.
//
// It is never sent to another host. In a log it takes one index.
type Jump struct {
	Cause string // why, for people
	Heads []JumpHead
	State []byte // as package projection encodes it; nothing is known of it here
}

// JumpHead is where an incarnation stands after a Jump. One that is not named has not been heard of.
type JumpHead struct {
	Inc  Incarnation `json:"inc"`
	Seq  uint64      `json:"seq"`
	Hash Hash        `json:"hash"`
	// Anew says that what the log has of the incarnation before the jump is not on the chain that ends here: none of it counts.
	Anew bool `json:"anew,omitempty"`
}

// maxState bounds what a jump's state may unpack to.
const maxState = 4 << 30

// wireJump is a jump's payload, in the order of its fields. State is packed with gzip, and then base64.
type wireJump struct {
	V    int `json:"v"`
	Jump struct {
		Cause string     `json:"cause"`
		Heads []JumpHead `json:"heads"`
	} `json:"jump"`
	State []byte `json:"state"`
}

// Entry is the jump as an entry for Append.
func (j *Jump) Entry() (Entry, error) {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return Entry{}, fmt.Errorf("jump: %w", err)
	}
	if _, err := w.Write(j.State); err != nil {
		return Entry{}, fmt.Errorf("jump: %w", err)
	}
	if err := w.Close(); err != nil {
		return Entry{}, fmt.Errorf("jump: %w", err)
	}
	wire := wireJump{V: Version, State: packed.Bytes()}
	wire.Jump.Cause, wire.Jump.Heads = j.Cause, j.Heads
	b, err := json.Marshal(&wire)
	if err != nil {
		return Entry{}, fmt.Errorf("jump: %w", err)
	}
	return Entry{Payload: b, Count: 1, Hash: HashOf(b)}, nil
}

// ParseJump reads the payload of a record whose Inc is zero.
func ParseJump(payload []byte) (*Jump, error) {
	wire, err := parseJump(payload)
	if err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(bytes.NewReader(wire.State))
	if err != nil {
		return nil, fmt.Errorf("jump: state: %w", err)
	}
	state, err := io.ReadAll(io.LimitReader(r, maxState+1))
	if err == nil && len(state) > maxState {
		err = fmt.Errorf("more than %d bytes", int64(maxState))
	}
	if err != nil {
		return nil, fmt.Errorf("jump: state: %w", err)
	}
	return &Jump{Cause: wire.Jump.Cause, Heads: wire.Jump.Heads, State: state}, nil
}

// JumpHeads reads of the payload of a record whose Inc is zero what ParseJump does, but not the state, which may be large.
func JumpHeads(payload []byte) (cause string, heads []JumpHead, err error) {
	wire, err := parseJump(payload)
	if err != nil {
		return "", nil, err
	}
	return wire.Jump.Cause, wire.Jump.Heads, nil
}

// parseJump reads all of a jump but its state.
func parseJump(payload []byte) (*wireJump, error) {
	var wire wireJump
	d := json.NewDecoder(bytes.NewReader(payload))
	d.DisallowUnknownFields()
	if err := d.Decode(&wire); err != nil {
		return nil, fmt.Errorf("jump: %w", err)
	}
	switch {
	case wire.V > Version:
		return nil, fmt.Errorf("jump: %w", ErrVersion)
	case wire.V != Version:
		return nil, fmt.Errorf("jump: format version %d", wire.V)
	}
	for i, h := range wire.Jump.Heads {
		if h.Inc == 0 || h.Seq == 0 || i > 0 && wire.Jump.Heads[i-1].Inc >= h.Inc {
			return nil, errors.New("jump: its heads are not those of incarnations in their order")
		}
	}
	return &wire, nil
}
