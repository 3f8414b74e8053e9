package trial

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"time"
)

// Doing is something that an agent does beside taking changes, and in the middle of which it can be killed.
type Doing int

// What is done.
const (
	Restoring Doing = iota
	BackingUp
	Incrementing // writing an increment
	Pruning      // removing backups that are not to be kept
	Trimming     // of the log
	Doings
)

// String is what a kill is in the middle of.
func (d Doing) String() string {
	return [Doings]string{"a restore", "a backup", "an increment", "a prune", "a trim"}[d]
}

// SayDoings have an agent write what Watch reads.
func SayDoings() []string { return []string{"--log-level", "debug", "--log-format", "json"} }

// said is what a message of an agent's says to begin, or to end.
func said(message string) (d Doing, begins, ok bool) {
	switch message {
	case "restoring", "going on with a restore that was interrupted":
		return Restoring, true, true
	case "restored":
		return Restoring, false, true
	case "making a backup":
		return BackingUp, true, true
	case "done with the backup":
		return BackingUp, false, true
	case "writing an increment":
		return Incrementing, true, true
	case "done with the increment":
		return Incrementing, false, true
	case "removing old backups":
		return Pruning, true, true
	case "done with the old backups":
		return Pruning, false, true
	case "trimming the log":
		return Trimming, true, true
	case "done with the trim":
		return Trimming, false, true
	}
	return 0, false, false
}

// Did is one thing that was done, from when to when. Ended is zero while the agent has not said that it was.
type Did struct {
	Doing
	Begun, Ended time.Time
}

// Watch knows what an agent does, and has done, in one life, by what it writes.
type Watch struct {
	path  string
	after int64 // which byte of the output comes what has not been read yet
	All   []Did // in the order in which they began
	open  [Doings]int
}

// Watch is of the life that is begun next.
func (a *Agent) Watch() (*Watch, error) {
	info, err := os.Stat(a.Output)
	if errors.Is(err, fs.ErrNotExist) {
		return &Watch{path: a.Output}, nil
	}
	if err != nil {
		return nil, err
	}
	return &Watch{path: a.Output, after: info.Size()}, nil
}

// Read reads what has been written since.
func (w *Watch) Read() error {
	f, err := os.Open(w.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has not begun to write
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, w.after, math.MaxInt64-w.after))
	if err != nil {
		return err
	}
	for {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			return nil
		}
		w.line(line)
		w.after += int64(len(b) - len(rest))
		b = rest
	}
}

func (w *Watch) line(b []byte) {
	var l struct {
		Time time.Time
		Msg  string
	}
	if json.Unmarshal(b, &l) != nil { // not all that it writes is a line of its log
		return
	}
	d, begins, ok := said(l.Msg)
	switch {
	case !ok:
	case begins:
		w.All = append(w.All, Did{Doing: d, Begun: l.Time})
		w.open[d] = len(w.All)
	case w.open[d] > 0:
		w.All[w.open[d]-1].Ended = l.Time
		w.open[d] = 0
	}
}

// UnderWay reports whether it had begun and not ended when it was read last. Of none of what is done two are at once.
func (w *Watch) UnderWay(d Doing) bool { return w.open[d] > 0 }

// Took is how long the last one took that ended; otherwise where none did.
func (w *Watch) Took(d Doing, otherwise time.Duration) time.Duration {
	for _, x := range w.All {
		if x.Doing == d && !x.Ended.IsZero() {
			otherwise = x.Ended.Sub(x.Begun)
		}
	}
	return otherwise
}
