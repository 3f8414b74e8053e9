package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one line of the table.
type row struct {
	Figure string  `json:"figure"`
	Ours   string  `json:"ours"`
	With   string  `json:"compared_with,omitempty"`
	Theirs string  `json:"theirs,omitempty"`
	Ratio  float64 `json:"ratio,omitempty"` // ours to theirs
	Aim    string  `json:"aim,omitempty"`
	Met    *bool   `json:"met,omitempty"`
	Note   string  `json:"note,omitempty"`
}

// aim is the row with what it is meant to reach.
func (r row) aim(aim string, met bool) row {
	r.Aim, r.Met = aim, &met
	return r
}

// note is the row with what one must know to read it.
func (r row) note(format string, args ...any) row {
	r.Note = fmt.Sprintf(format, args...)
	return r
}

// missed is an error that names each row whose aim was not reached, with what it is instead; nil if all were.
func missed(rows []row) error {
	var lines []string
	for _, r := range rows {
		if r.Met != nil && !*r.Met {
			lines = append(lines, fmt.Sprintf("\n  %s: %s, aim %s", r.Figure, r.reached(), r.Aim))
		}
	}
	if lines == nil {
		return nil
	}
	return fmt.Errorf("missed aims: %d%s", len(lines), strings.Join(lines, ""))
}

// reached is what was measured, and its ratio if it has one: an aim may be either's.
func (r row) reached() string {
	if r.Ratio == 0 {
		return r.Ours
	}
	return r.Ours + ", ratio " + r.ratio()
}

func (r row) ratio() string {
	switch {
	case r.Ratio == 0:
		return ""
	case r.Ratio >= 100 || r.Ratio < 0.1:
		return strconv.FormatFloat(r.Ratio, 'g', 3, 64)
	}
	return strconv.FormatFloat(r.Ratio, 'f', 2, 64)
}

// printer prints either a table for people or one JSON object a line.
type printer struct {
	w      io.Writer
	asJSON bool
}

func (p *printer) machine(m machine) {
	if p.asJSON {
		p.json(m)
		return
	}
	fmt.Fprintf(p.w, `machine  %s, %d cores, %s of memory, Linux %s
disk     %s on %s
go       %s
load     %s (1, 5, 15 minutes) at %s

Every line compares "ours" with something that is not ours, measured in turns in this run; both are medians. ratio is
ours to theirs: for times less is better, for rates more. MISSED marks an aim that was not reached here.

`, m.CPU, m.Cores, size(float64(m.Memory)), m.Kernel, m.FS, m.Device, m.Go, m.Load, m.At.Format(time.DateTime))
	if m.FS == "tmpfs" {
		fmt.Fprint(p.w, "The folder is in memory, where fsync does nothing: choose one on a disk with -dir.\n\n")
	}
}

func (p *printer) json(v any) error { return json.NewEncoder(p.w).Encode(v) }

func (p *printer) rows(rows []row) error {
	if p.asJSON {
		for i := range rows {
			if err := p.json(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "figure\tours\tcompared with\ttheirs\tratio\taim\t")
	for _, r := range rows {
		met := ""
		if r.Met != nil {
			met = "met"
			if !*r.Met {
				met = "MISSED"
			}
		}
		fmt.Fprintln(t, strings.Join([]string{r.Figure, r.Ours, r.With, r.Theirs, r.ratio(), r.Aim, met}, "\t"))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(p.w)
	for _, r := range rows {
		if r.Note != "" {
			fmt.Fprintf(p.w, "%s: %s\n", r.Figure, r.Note)
		}
	}
	return nil
}

// span says a duration with three digits.
func span(d time.Duration) string {
	switch {
	case d >= time.Second:
		return digits(d.Seconds()) + " s"
	case d >= time.Millisecond:
		return digits(float64(d)/1e6) + " ms"
	}
	return digits(float64(d)/1e3) + " µs"
}

// rate says how many there are in a second.
func rate(perSecond float64) string { return count(int(perSecond)) + "/s" }

// size says a number of bytes.
func size(bytes float64) string {
	unit := 0
	for ; bytes >= 1000 && unit < 3; unit++ {
		bytes /= 1000
	}
	return digits(bytes) + " " + [...]string{"B", "kB", "MB", "GB"}[unit]
}

func digits(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// count says a number with commas.
func count(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
