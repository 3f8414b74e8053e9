package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
)

// mostLine is how long a line of an audit file may be: more than any event is.
const mostLine = 16 << 20

// fileEnd is how an audit file ends.
type fileEnd struct {
	size     int64          // without an unfinished line
	torn     bool           // there is one
	position *tail.Position // of the last line that has one; nil: there is none
	events   bool           // the last line is an event, and no bookmark
}

// endOf reads the end of an audit file. One that is none is an error, so that nobody's file is cut.
func endOf(f *os.File) (e fileEnd, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size == 0 {
		return e, err
	}
	for most := int64(1 << 20); ; most *= 4 {
		from := max(0, size-most)
		b := make([]byte, size-from)
		if _, err := f.ReadAt(b, from); err != nil {
			return e, fmt.Errorf("read the end of %s: %w", f.Name(), err)
		}
		b, _, _ = bytes.Cut(b, []byte{0}) // zeros are what a power cut leaves of what was not on disk: what follows them has a gap before it
		whole := b[:bytes.LastIndexByte(b, '\n')+1]
		e.size = from + int64(len(whole))
		e.torn = e.size < size
		if e.position, e.events = lastPosition(whole, from > 0); e.position != nil {
			return e, nil
		}
		if from == 0 {
			if len(b) == 0 || len(whole) == 0 && (bytes.HasPrefix(b, []byte(`{"index":`)) || bytes.HasPrefix(b, []byte(`{"bookmark":`))) {
				return fileEnd{torn: true}, nil // not one line was finished
			}
		}
		if from == 0 || most > mostLine {
			return e, fmt.Errorf("%s is no audit file: nothing at its end says how far it has come, and it is left as it is", f.Name())
		}
	}
}

// lastPosition finds the last whole line that says how far it has come. Of the first line the beginning may lack.
func lastPosition(b []byte, torn bool) (p *tail.Position, event bool) {
	for len(b) > 0 {
		from := bytes.LastIndexByte(b[:len(b)-1], '\n') + 1
		if from == 0 && torn {
			return nil, false
		}
		var line struct{ Position, Bookmark string }
		if json.Unmarshal(b[from:], &line) == nil && line.Position+line.Bookmark != "" {
			if p, err := tail.ParsePosition(line.Position + line.Bookmark); err == nil {
				return &p, line.Position != ""
			}
		}
		b = b[:from]
	}
	return nil, false
}

// earlier is where the files beside the audit file end, that it was moved to, by whomever: the furthest of them. Where there
// is none, the file is the first, and begins where the log does.
func (a *audit) earlier() (p tail.Position, err error) {
	dir := filepath.Dir(a.path)
	all, err := os.ReadDir(dir)
	if err != nil {
		return p, err
	}
	for _, e := range all {
		rest, ours := strings.CutPrefix(e.Name(), filepath.Base(a.path))
		if !ours || !strings.HasPrefix(rest, ".") && !strings.HasPrefix(rest, "-") || !e.Type().IsRegular() {
			continue
		}
		name := filepath.Join(dir, e.Name())
		f, err := os.Open(name)
		if err != nil {
			return p, err
		}
		end, err := endOf(f)
		if err = errors.Join(err, f.Close()); err != nil {
			continue // somebody else's
		}
		if end.position != nil && end.position.Index > p.Index && end.position.Log == a.tail.At(0).Log {
			p = *end.position
		}
	}
	return p, nil
}
