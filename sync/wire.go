package sync

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// The subjects of this package, all of them. Version 1 of what is said on them; CLUSTER and NODE are names. DESIGN.md shows the messages.
//
//	swarm.1.CLUSTER.log.commit.NODE   commits that NODE has written, one a line, as they are in its log
//	swarm.1.CLUSTER.log.beat.NODE     how far NODE has come, every Beat
//	swarm.1.CLUSTER.host.NODE         asks and answers, to NODE alone
//
// Commits and beats share one subscription: so they arrive in the order in which they were published, and a beat that is
// ahead of what has come proves a loss.
type subjects struct{ cluster string }

func (s subjects) commit(node string) string { return "swarm.1." + s.cluster + ".log.commit." + node }
func (s subjects) beat(node string) string   { return "swarm.1." + s.cluster + ".log.beat." + node }
func (s subjects) log() string               { return "swarm.1." + s.cluster + ".log.>" }
func (s subjects) host(node string) string   { return "swarm.1." + s.cluster + ".host." + node }

// read gives what kind of message the subject is of, and the host that it names.
func (s subjects) read(subject string) (kind, node string) {
	rest, ok := strings.CutPrefix(subject, "swarm.1."+s.cluster+".")
	if !ok {
		return "", ""
	}
	rest = strings.TrimPrefix(rest, "log.")
	kind, node, _ = strings.Cut(rest, ".")
	return kind, node
}

// beat says how far a host has come. It is sent every few seconds by each to all, so its names are short, and what is as it was
// in an earlier beat is left out: all but Number, Waits and Told in one that says As, and if Inc is among what is left out, so are
// the four after it.
type beat struct {
	Number   uint64             `json:"n"`            // of this beat; greater than that of every one before, also before a restart
	As       uint64             `json:"as,omitempty"` // all is as in the beat so many before this; 0: here it is
	Inc      events.Incarnation `json:"i,omitzero"`
	Seq      uint64             `json:"s,omitempty"` // of Inc, on disk
	Hash     events.Hash        `json:"x,omitzero"`  // of Inc's last commit, on disk
	Vector   mark               `json:"v,omitzero"`  // of all that is on disk
	Digest   string             `json:"d,omitempty"` // of the state at Vector, if it is known
	Boot     uint64             `json:"b,omitempty"` // drawn when the agent started: tells two agents of one name apart
	Started  int64              `json:"t,omitempty"` // Unix milliseconds, by its own clock
	Up       int64              `json:"u,omitempty"` // milliseconds since then, by no clock that can be set
	Began    point              `json:"e,omitzero"`  // where its incarnation ended on disk when the agent started
	Starting bool               `json:"r,omitempty"` // it recovers
	ReadOnly bool               `json:"o,omitempty"`
	Hears    []string           `json:"h,omitempty"` // the hosts that it hears
	Waits    []string           `json:"w,omitempty"` // those of them whose next beat is overdue
	Told     map[string]uint64  `json:"g,omitempty"` // the newest beats of hosts that others do not hear
}

// mark stands for a vector: equal vectors have equal marks, and different ones have not.
type mark uint64

// markOf mixes the heads so that their order does not matter and one changed head changes the whole.
func markOf(vector []projection.Head) (m mark) {
	for _, h := range vector {
		if h.Seq == 0 {
			continue
		}
		x := uint64(h.Inc) ^ h.Seq*0x9e3779b97f4a7c15 ^ binary.LittleEndian.Uint64(h.Hash[:])
		x ^= x >> 33 // the finalizer of MurmurHash3
		x *= 0xff51afd7ed558ccd
		x ^= x >> 33
		x *= 0xc4ceb9fe1a85ec53
		x ^= x >> 33
		m += mark(x)
	}
	return m
}

// MarshalText gives 16 hexadecimal digits: JSON numbers of that size are not safe everywhere.
func (m mark) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%016x", uint64(m)), nil }

// UnmarshalText reads what MarshalText gives.
func (m *mark) UnmarshalText(b []byte) error {
	_, err := fmt.Sscanf(string(b), "%016x", (*uint64)(m))
	return err
}

// point is a place on an incarnation's hash chain: its last event and hash there.
type point struct {
	Inc  events.Incarnation `json:"i,omitzero"`
	Seq  uint64             `json:"s"`
	Hash events.Hash        `json:"h"`
}

// What can be asked.
const (
	askHello   = "hello"   // who are you, and what time is it
	askCommits = "commits" // what do I lack who have Have, from From on
	askChain   = "chain"   // up to which of these Points do we agree about Inc
	askState   = "state"   // your whole state, from byte Offset on
	askLook    = "look"    // find out where our chains of Inc part; there is no answer
	askBeat    = "beat"    // say everything in your next beat; there is no answer
	askCopy    = "copy"    // you count your events under Inc, which is mine: one of our disks is a copy; there is no answer
	askTwin    = "twin"    // another agent of your name has said Beat; there is no answer
	askHolds   = "holds"   // say so once event ID is on your disk
)

// ask is a question to one host, and answer what that says. The body of an answer follows after a line end.
type ask struct {
	Ask    string             `json:"ask"`
	From   string             `json:"from"`
	ID     uint64             `json:"id"`
	Have   []point            `json:"have,omitempty"`
	Record uint64             `json:"record,omitempty"` // commits: where in the log of who is asked to go on
	Most   int                `json:"most,omitempty"`   // commits: about how many bytes of them; zero: pageBytes
	Inc    events.Incarnation `json:"inc,omitzero"`
	Points []point            `json:"points,omitempty"`
	Whole  uint64             `json:"whole,omitempty"` // state: which of them, from the answer before
	Offset int                `json:"offset,omitempty"`
	Event  events.ID          `json:"event,omitzero"`
	Beat   *beat              `json:"beat,omitempty"`
	Within time.Duration      `json:"within,omitempty"`
}

type answer struct {
	Answer  string               `json:"answer"` // what was asked
	From    string               `json:"from"`
	ID      uint64               `json:"id"`
	Vector  mark                 `json:"vector,omitzero"` // commits: of who answers
	Record  uint64               `json:"record,omitempty"`
	More    bool                 `json:"more,omitempty"`
	Gone    []events.Incarnation `json:"gone,omitempty"`   // commits: some that are lacked are not held here any more
	Torn    bool                 `json:"torn,omitempty"`   // commits: so may be more of them, as damage is in the way: who asks anew once these are folded is told
	Astray  []events.Incarnation `json:"astray,omitempty"` // commits: what is had of these is not on the chain held here
	Inc     events.Incarnation   `json:"inc,omitzero"`
	Common  uint64               `json:"common,omitempty"` // chain: the last event of the last of Points that is on the chain here
	Floor   *point               `json:"floor,omitempty"`  // chain: what is held of it here is what follows upon this
	Whole   uint64               `json:"whole,omitempty"`
	Size    int                  `json:"size,omitempty"`
	Offset  int                  `json:"offset,omitempty"`
	Holds   bool                 `json:"holds,omitempty"`
	Wall    int64                `json:"wall,omitempty"` // hello: Unix microseconds
	Version string               `json:"version,omitempty"`
	Address string               `json:"address,omitempty"`

	body []byte
}

// part is a piece of a message that is too large for one.
type part struct {
	Part  uint64 `json:"part"` // the same for all pieces of a message
	From  string `json:"from"`
	Piece int    `json:"piece"`
	Of    int    `json:"of"`
}

// headed is a message of a header and a body.
func headed(header any, body []byte) []byte {
	b, err := json.Marshal(header)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", header, err)) // a struct of texts and numbers
	}
	if body == nil {
		return b
	}
	return append(append(b, '\n'), body...)
}

// unhead parts a message.
func unhead(b []byte) (header, body []byte) {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return b[:i], b[i+1:]
	}
	return b, nil
}

// lines are the commits of a message.
func lines(b []byte) (all [][]byte) {
	for line := range bytes.SplitSeq(b, []byte{'\n'}) {
		if len(line) > 0 {
			all = append(all, bytes.Clone(line)) // else one object that is kept keeps all of the message
		}
	}
	return all
}
