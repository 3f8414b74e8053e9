package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// PieceVersion is the version of the form of a piece.
const PieceVersion = 1

// Piece is a part of a log that has been sealed: the records of some events that follow on one another, each byte for byte.
type Piece struct {
	PieceHead
	Records []events.Record
	Digest  string // of the state after the last of them; "": it was not known
}

// PieceHead is what a piece says of itself, in its first line.
type PieceHead struct {
	Version int    `json:"version"`
	Cluster string `json:"cluster"`
	Node    string `json:"node"`
	Agent   string `json:"agent"` // its version
	Log     string `json:"id"`    // of the log, as events.Log.ID has it
	First   uint64 `json:"first"` // index of the first event
	Last    uint64 `json:"last"`
	// Prev is the hash of the record before the first; zero where that was not to be had any more, and in the first of all.
	Prev events.Hash `json:"prev,omitzero"`
}

// pieceEnd is the last line of a piece but for the checksum, which is behind it.
type pieceEnd struct {
	Records int         `json:"records"`
	Hash    events.Hash `json:"hash"` // of the last record
	Digest  string      `json:"digest,omitempty"`
}

// PieceFile is a file that has the name of a piece.
type PieceFile struct {
	Name  string    `json:"name"`
	First uint64    `json:"first"` // index of the first event
	Last  uint64    `json:"last"`
	Bytes int64     `json:"bytes"`
	Made  time.Time `json:"made"` // when the file was written
	// Sealed says, by the end of its name, that only a key opens it.
	Sealed bool `json:"sealed,omitempty"`
}

var pieceName = regexp.MustCompile(`^log-(\d{20})-(\d{20})\.jsonl\.zst(\.age)?$`)

func nameOfPiece(first, last uint64, sealed bool) string {
	return fmt.Sprintf("log-%020d-%020d.jsonl.zst", first, last) + map[bool]string{true: ".age"}[sealed]
}

// parsePieceName is what its name says of a piece; false: it is not the name of one.
func parsePieceName(name string) (f PieceFile, ok bool) {
	m := pieceName.FindStringSubmatch(name)
	if m == nil {
		return f, false
	}
	first, err1 := strconv.ParseUint(m[1], 10, 64)
	last, err2 := strconv.ParseUint(m[2], 10, 64)
	return PieceFile{Name: name, First: first, Last: last, Sealed: m[3] != ""}, err1 == nil && err2 == nil && 0 < first && first <= last
}

// appendRecord appends the line of a record. Its commit stands in it as it is, so that its hash can be computed again; one that is not JSON of
// one line, which no version writes so far, stands in it as base64.
func appendRecord(b []byte, r *events.Record) []byte {
	b = fmt.Appendf(b, `{"index":%d,"count":%d,"record":%d,"at":%d,"inc":"%s","seq":%d,"hash":"%s",`,
		r.Index, r.Count, r.Number, r.At.UnixMicro(), r.Inc, r.Seq, r.Hash)
	if bytes.IndexByte(r.Payload, '\n') < 0 && json.Valid(r.Payload) {
		b = append(append(b, `"commit":`...), r.Payload...)
	} else {
		b = append(base64.StdEncoding.AppendEncode(append(b, `"raw":"`...), r.Payload), '"')
	}
	return append(b, "}\n"...)
}

// appendPiece appends a whole piece, of which lines are those of its records.
func appendPiece(b []byte, h PieceHead, lines []byte, end pieceEnd) ([]byte, error) {
	from := len(b)
	h.Version = PieceVersion
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	last, err := json.Marshal(end)
	if err != nil {
		return nil, err
	}
	b = fmt.Appendf(b, "{\"log\":%s}\n", head)
	b = append(b, lines...)
	b = fmt.Appendf(b, "{\"end\":%s,", last)
	return appendChecksum(b, b[from:]), nil
}

// appendChecksum ends a piece with the checksum of what is before it.
func appendChecksum(b, of []byte) []byte {
	return fmt.Appendf(b, "\"checksum\":\"sha256:%x\"}\n", sha256.Sum256(of))
}

const checksumLen = len(`"checksum":"sha256:"}`) + 2*sha256.Size + 1

// ErrPieceVersion says that a piece is whole and of a form that this agent does not read.
var ErrPieceVersion = errors.New("of another version")

// ReadPiece reads a piece, compressed or not, and believes nothing of it: its checksum must fit, and its records must be those that it says to
// have, one after the other, each with the hash that it has. The payloads are parts of one piece of memory.
func ReadPiece(b []byte) (*Piece, error) {
	b, err := plain(b)
	if err != nil {
		return nil, err
	}
	line, rest, ok := bytes.Cut(b, []byte("\n"))
	var head struct {
		Log *PieceHead `json:"log"`
	}
	if !ok || !bytes.HasPrefix(line, []byte(`{"log":{"version":`)) || json.Unmarshal(line, &head) != nil || head.Log == nil {
		return nil, errors.New("not a piece of a log: it does not begin as one")
	}
	body := b[:max(0, len(b)-checksumLen)]
	if len(body) <= len(line) || !bytes.Equal(b[len(body):], appendChecksum(nil, body)) {
		return nil, errors.New("damaged: its checksum does not fit, or its end is missing")
	}
	p := &Piece{PieceHead: *head.Log}
	if p.Version != PieceVersion {
		return nil, fmt.Errorf("%w: its form is version %d, and this agent reads version %d: it was made by agent %q", ErrPieceVersion, p.Version, PieceVersion, p.Agent)
	}
	rest = rest[:len(body)-len(line)-1]
	at := bytes.LastIndexByte(rest, '\n') + 1
	var last struct {
		End pieceEnd `json:"end"`
	}
	if err := json.Unmarshal(append(bytes.TrimSuffix(bytes.Clone(rest[at:]), []byte(",")), '}'), &last); err != nil {
		return nil, fmt.Errorf("it is whole, but its end cannot be read: %w", err)
	}
	if err := p.read(rest[:at]); err != nil {
		return nil, fmt.Errorf("it is whole, but cannot be read: %w", err)
	}
	if n := len(p.Records); n == 0 || n != last.End.Records || p.Records[n-1].Hash != last.End.Hash || p.Records[0].Index != p.First || p.Records[n-1].Last() != p.Last {
		return nil, errors.New("the records in it are not those that it says to have: an agent made it wrongly")
	}
	p.Digest = last.End.Digest
	return p, nil
}

// read reads the lines of the records.
func (p *Piece) read(b []byte) error {
	for len(b) > 0 {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		r, err := parseRecord(line)
		if err != nil {
			return fmt.Errorf("event %d: %w", p.First+uint64(len(p.Records)), err)
		}
		if n := len(p.Records); n > 0 && (r.Index != p.Records[n-1].Last()+1 || r.Number != p.Records[n-1].Number+1) {
			return fmt.Errorf("event %d follows on event %d", r.Index, p.Records[n-1].Last())
		}
		if events.HashOf(r.Payload) != r.Hash {
			return fmt.Errorf("event %d: its hash is not that of its commit", r.Index)
		}
		p.Records = append(p.Records, r)
		b = rest
	}
	return nil
}

// parseRecord reads what appendRecord writes, and takes no other: a million of these are read where encoding/json would read a twentieth.
func parseRecord(line []byte) (r events.Record, err error) {
	l := lineParser{b: line}
	r.Index = l.number(`{"index":`)
	r.Count = uint32(l.number(`,"count":`))
	r.Number = l.number(`,"record":`)
	r.At = time.UnixMicro(int64(l.number(`,"at":`))).UTC()
	inc, err1 := strconv.ParseUint(string(l.text(`,"inc":"`, 16)), 16, 64)
	r.Inc = events.Incarnation(inc)
	r.Seq = l.number(`","seq":`)
	err2 := r.Hash.UnmarshalText(l.text(`,"hash":"`, 2*sha256.Size))
	switch {
	case l.bad || err1 != nil || err2 != nil || r.Count == 0 || !bytes.HasSuffix(l.b, []byte("}")):
		return r, errors.New("not a line of a record")
	case l.skip(`","commit":`):
		r.Payload = l.b[: len(l.b)-1 : len(l.b)-1]
	case l.skip(`","raw":"`):
		r.Payload, err = base64.StdEncoding.DecodeString(string(bytes.TrimSuffix(l.b, []byte(`"}`))))
	default:
		err = errors.New("not a line of a record: it has no commit")
	}
	return r, err
}

// lineParser takes a line apart from its beginning on.
type lineParser struct {
	b   []byte
	bad bool // something was not there
}

func (l *lineParser) skip(what string) bool {
	ok := bytes.HasPrefix(l.b, []byte(what))
	if ok {
		l.b = l.b[len(what):]
	}
	return ok
}

// number is the number that stands after what.
func (l *lineParser) number(after string) (n uint64) {
	l.bad = l.bad || !l.skip(after)
	i := 0
	for ; i < len(l.b) && i < 19 && '0' <= l.b[i] && l.b[i] <= '9'; i++ {
		n = 10*n + uint64(l.b[i]-'0')
	}
	l.b, l.bad = l.b[i:], l.bad || i == 0
	return n
}

// text is so many bytes that stand after what.
func (l *lineParser) text(after string, size int) []byte {
	if l.bad = l.bad || !l.skip(after) || len(l.b) < size; l.bad {
		return nil
	}
	text := l.b[:size]
	l.b = l.b[size:]
	return text
}
