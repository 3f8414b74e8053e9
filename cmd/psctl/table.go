package main

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"
)

// table lines up columns. Rows that come later, as in a watch, stand under the earlier ones as far as they fit.
type table struct {
	header []string
	rows   [][]string
	widths []int
	shown  []bool // columns; set by the first write
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write writes the rows added since the last write, the first time under their header. A column in which nothing
// stands is left out, unless all is set; that is settled by the first write.
func (t *table) write(w io.Writer, all bool) error {
	rows := t.rows
	if t.shown == nil {
		t.shown = make([]bool, len(t.header))
		t.widths = make([]int, len(t.header))
		for i := range t.header {
			t.shown[i] = all
			for _, r := range rows {
				t.shown[i] = t.shown[i] || r[i] != ""
			}
		}
		rows = append([][]string{t.header}, rows...)
	}
	t.rows = nil
	for _, r := range rows {
		for i, cell := range r {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b bytes.Buffer
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			if t.shown[i] {
				line.WriteString(cell)
				line.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)+3))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	_, err := w.Write(b.Bytes())
	return err
}

// oneLine makes a message fit into a cell.
func oneLine(s string, most int) string {
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}
