package manifest

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// MaxBytes bounds a manifest, and what it becomes once its aliases are written out, as Kubernetes bounds a request.
// One object is bounded by MaxObjectBytes.
const MaxBytes = 3 << 20

// maxMarks bounds the characters of a manifest that begin or end a field or an item. Each value takes some hundred
// bytes of memory while it is read, and three megabytes of "[],[],…" would take more than a gigabyte; manifests that
// people write have one of these in eight characters and stay below.
const (
	maxMarks = 400_000
	marks    = ",:[{?*-\n"
)

// chunk is the text between two document separators.
type chunk struct {
	text []byte
	line int // of its first byte, from 1
}

// split cuts a manifest at its document separators: lines that are "---", or "...", with at most a comment after it.
// A "---" that is indented, or within a line, is text. Chunks that hold nothing but comments are left out.
func split(data []byte) ([]chunk, Mistakes) {
	var chunks []chunk
	var wrong Mistakes
	now := chunk{line: 1}
	add := func(end []byte) {
		now.text = now.text[:len(now.text)-len(end)]
		if !blank(now.text) {
			chunks = append(chunks, now)
		}
	}
	rest, line := data, 0
	now.text = data[:0]
	for len(rest) > 0 {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		text := rest[:n]
		rest = rest[n:]
		line++
		now.text = now.text[:len(now.text)+n]
		after, ok := separator(text)
		if !ok {
			continue
		}
		if len(after) > 0 && after[0] != '#' {
			wrong = append(wrong, Mistake{Line: line, Message: fmt.Sprintf(
				"invalid document separator: nothing but a comment may follow %q on its line", text[:3])})
		}
		add(text)
		now = chunk{text: rest[:0], line: line + 1}
	}
	add(nil)
	return chunks, wrong
}

// separator reports whether the line ends a document, and what follows on the line.
func separator(line []byte) (after []byte, ok bool) {
	if !bytes.HasPrefix(line, []byte("---")) && !bytes.HasPrefix(line, []byte("...")) {
		return nil, false
	}
	after = line[3:]
	if len(after) > 0 && !bytes.ContainsRune([]byte(" \t\r\n"), rune(after[0])) {
		return nil, false // "-----BEGIN CERTIFICATE-----"
	}
	return bytes.TrimSpace(after), true
}

// blank reports whether a chunk holds nothing: space, comments, and the %YAML line that may begin a file.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.HasPrefix(line, []byte("%YAML ")) {
			return false
		}
	}
	return true
}

// readable refuses what no document could be read from, and takes off a byte order mark.
func readable(data []byte) ([]byte, Mistakes) {
	if len(data) > MaxBytes {
		return nil, Mistakes{{Message: fmt.Sprintf("manifest of %d bytes: at most %d are taken", len(data), MaxBytes)}}
	}
	found := 0
	for i := range len(marks) {
		found += bytes.Count(data, []byte{marks[i]})
	}
	if found > maxMarks {
		return nil, Mistakes{{Message: fmt.Sprintf("manifest of %d lines, commas, colons and the like: at most %d are taken; "+
			"apply it in parts", found, maxMarks)}}
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if utf8.Valid(data) {
		return data, nil
	}
	line := 1
	for rest := data; len(rest) > 0; {
		r, n := utf8.DecodeRune(rest)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		rest = rest[n:]
	}
	return nil, Mistakes{{Line: line, Message: "not UTF-8"}}
}
