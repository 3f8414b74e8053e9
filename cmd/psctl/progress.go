package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// progress shows how far several things are: on a terminal one line for each, written over; elsewhere a line for each
// change.
type progress struct {
	w     io.Writer
	live  bool
	drawn string            // lines that are written over next
	last  map[string]string // text by name, as shown
}

type progressLine struct {
	name, text string
	done       bool
}

// most is how many lines are written over: those that have scrolled off the top cannot be.
const most = 12

func (p *program) newProgress(w io.Writer) *progress {
	f, ok := w.(*os.File)
	return &progress{w: w, live: ok && terminal(f, p.getenv), last: map[string]string{}}
}

// terminal reports whether f is one on which lines can be written over.
func terminal(f *os.File, getenv func(string) string) bool {
	if f.Name() == os.DevNull || getenv("TERM") == "dumb" || getenv("TERM") == "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// show brings the lines up to date. Errors of writing are passed over: what is waited for comes all the same.
func (p *progress) show(lines []progressLine) {
	if !p.live {
		for _, l := range lines {
			if p.last[l.name] != l.text {
				p.last[l.name] = l.text
				fmt.Fprintf(p.w, "%s: %s\n", l.name, l.text)
			}
		}
		return
	}
	all := len(lines)
	if all > most {
		lines = slices.DeleteFunc(slices.Clone(lines), func(l progressLine) bool { return l.done })
		lines = lines[:min(most-1, len(lines))]
	}
	var b strings.Builder
	for _, l := range lines {
		b.WriteString(oneLine(l.name+": "+l.text, 500) + "\n")
	}
	if more := all - len(lines); more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	if b.String() != p.drawn {
		p.erase()
		p.drawn = b.String()
		io.WriteString(p.w, noWrap+p.drawn+wrap)
	}
}

// A line that wraps could not be written over. The terminal cuts it off where it ends, however wide it is.
const (
	noWrap = "\x1b[?7l"
	wrap   = "\x1b[?7h"
)

// erase takes back what is to be written over.
func (p *progress) erase() {
	if p.drawn != "" {
		fmt.Fprintf(p.w, "\x1b[%dA\x1b[J", strings.Count(p.drawn, "\n"))
		p.drawn = ""
	}
}

// say writes what stays.
func (p *progress) say(text string) {
	p.erase()
	fmt.Fprintln(p.w, text)
}
