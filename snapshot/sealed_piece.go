package snapshot

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// pieceAbout is what stands in clear beside a sealed piece. By its end, which has no hash of what is sealed, a host that cannot open it knows
// whether it is of the log as that is: a log that was put back to an earlier time and went on otherwise wrote another record at another time.
type pieceAbout struct {
	PieceHead
	Records int                `json:"records"`
	Number  uint64             `json:"number"` // of the last record
	At      int64              `json:"at"`     // when the log wrote that, in Unix microseconds
	Inc     events.Incarnation `json:"inc"`    // whose commit it is
	Seq     uint64             `json:"seq"`
}

func aboutPiece(p *Piece) *pieceAbout {
	last := &p.Records[len(p.Records)-1]
	a := &pieceAbout{PieceHead: p.PieceHead, Records: len(p.Records), Number: last.Number, At: last.At.UnixMicro(), Inc: last.Inc, Seq: last.Seq}
	a.Prev = events.Hash{}
	return a
}

// endsWith reports whether a record is the last of the piece, as far as can be told without opening it.
func (a *pieceAbout) endsWith(r *events.Record) bool {
	return a.Last == r.Last() && a.Number == r.Number && a.At == r.At.UnixMicro() && a.Inc == r.Inc && a.Seq == r.Seq
}

// put writes a piece, whole or not at all; sealed, where backups are.
func (p *Increments) put(first, last uint64, text []byte, of []events.Record) error {
	var packed bytes.Buffer
	if err := compress(&packed, func(w io.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	if err := p.Backups.folder(); err != nil {
		return err
	}
	if err := makeFolders(p.folder); err != nil {
		return err
	}
	whom := p.Backups.For
	path, tmp := filepath.Join(p.folder, nameOfPiece(first, last, !whom.None())), filepath.Join(p.folder, tmpPiece)
	if whom.None() {
		return WriteFile(path, tmp, 0o640, func(w io.Writer) error { _, err := w.Write(packed.Bytes()); return err })
	}
	about, err := readBefore(packed.Bytes(), of)
	if err != nil {
		return fmt.Errorf("what was to be sealed as %s: %w", filepath.Base(path), err)
	}
	sealed, err := whom.Seal(packed.Bytes())
	if err != nil {
		return err
	}
	return place(path, tmp, about, sealed)
}

// readBefore reads a piece as whoever needs it will, before it is sealed: the last time that it can be looked at without a key. It must have the
// given records of the log, each with the bytes that the log has the hash of.
func readBefore(packed []byte, of []events.Record) (*pieceAbout, error) {
	p, err := ReadPiece(packed)
	if err != nil {
		return nil, err
	}
	if len(p.Records) != len(of) {
		return nil, fmt.Errorf("it has %d records, and %d were put into it", len(p.Records), len(of))
	}
	for i := range of {
		r := p.Records[i] // whose hash is that of its payload: so it was read
		r.Payload = nil
		if !sameRecord(&r, &of[i]) {
			return nil, fmt.Errorf("it has not what the log has as event %d", of[i].Index)
		}
	}
	return aboutPiece(p), nil
}

// checkPiece finds out whether a piece is whole, as far as the keys go: where none opens it, and its bytes are those that were written, the piece
// is nil. What it is of is given in either case.
func checkPiece(folder string, f PieceFile, keys seal.Keys) (*Piece, *pieceAbout, error) {
	bad := func(err error) (*Piece, *pieceAbout, error) { return nil, nil, fmt.Errorf("%s: %w", f.Name, err) }
	packed, about, err := unseal[pieceAbout](filepath.Join(folder, f.Name), f.Sealed, keys)
	if err != nil {
		return nil, nil, err
	}
	var p *Piece
	if about == nil {
		if p, err = ReadPiece(packed); err != nil {
			return bad(err)
		}
		about = aboutPiece(p)
	}
	if about.First != f.First || about.Last != f.Last {
		return bad(fmt.Errorf("it has events %d to %d", about.First, about.Last))
	}
	return p, about, nil
}

// readPieceFile reads a piece. The error wraps seal.ErrNoKey where it is sealed, whole or not, and no key opens it.
func readPieceFile(folder string, f PieceFile, keys seal.Keys) (*Piece, error) {
	p, _, err := checkPiece(folder, f, keys)
	if err == nil && p == nil {
		err = fmt.Errorf("%s: %w", f.Name, seal.ErrNoKey)
	}
	return p, err
}

// sweepPieces removes what stands beside sealed pieces that are not there any more.
func sweepPieces(folder string) error {
	return sweep(folder, func(name string) bool { f, ok := parsePieceName(name); return ok && f.Sealed })
}
