package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// progress shows how far several things are: on a terminal one line for each, written over; elsewhere a line for each
// change.
type progress struct {
	w     io.Writer
	live  bool
	drawn int               // lines that are written over next
	last  map[string]string // text by name, as shown
}

type progressLine struct{ name, text string }

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
	var b strings.Builder
	if p.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", p.drawn)
	}
	for _, l := range lines {
		b.WriteString(oneLine(l.name+": "+l.text, 78) + "\x1b[K\n") // a line that wraps could not be written over
	}
	p.drawn = len(lines)
	io.WriteString(p.w, b.String())
}

// say writes what stays.
func (p *progress) say(text string) {
	if p.live && p.drawn > 0 {
		fmt.Fprintf(p.w, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
	fmt.Fprintln(p.w, text)
}
