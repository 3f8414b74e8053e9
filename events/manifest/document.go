package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// document is one document of a manifest: what it says, as JSON's values, and where.
type document struct {
	number int
	root   *node
	value  any      // map[string]any, []any, string, json.Number, bool
	wrong  Mistakes // fields that are there twice, and tags
}

// reader reads the documents of a manifest and gathers what is wrong with them.
type reader struct {
	each   func(document)
	count  int // documents so far, those that cannot be read as well
	budget int // bytes that the documents yet to come may hold, their aliases written out
	wrong  Mistakes
}

// read splits a manifest and hands every document of it to each, one at a time, since they take many times their size.
// It returns what could not be read, which does not hide the other documents.
func read(data []byte, each func(document)) Mistakes {
	data, wrong := readable(data)
	if wrong != nil {
		return wrong
	}
	chunks, wrong := split(data)
	r := reader{each: each, budget: MaxBytes, wrong: wrong}
	for _, c := range chunks {
		if first := bytes.TrimSpace(c.text); first[0] != '{' || !r.json(c) {
			r.yaml(c)
		}
	}
	return r.wrong
}

// json reads a chunk as a stream of JSON values and reports whether it did. What begins like JSON and is not may be
// YAML's flow style; what is neither is reported as JSON.
func (r *reader) json(c chunk) bool {
	type value struct {
		raw  json.RawMessage
		line int
	}
	var values []value
	d := json.NewDecoder(bytes.NewReader(c.text))
	line, seen := c.line, int64(0)
	var end *Mistake // what stands after the values and is none
	for {
		var raw json.RawMessage
		err := d.Decode(&raw)
		if err == io.EOF {
			break
		}
		if err != nil {
			if _, notYAML := new(tree).readYAML(c.text); notYAML == nil || errors.Is(notYAML, errDeep) {
				return false
			}
			at := d.InputOffset()
			if s := (*json.SyntaxError)(nil); errors.As(err, &s) {
				at = min(s.Offset, int64(len(c.text)))
			} else if errors.Is(err, io.ErrUnexpectedEOF) {
				at = int64(len(bytes.TrimSpace(c.text)))
			}
			end = &Mistake{Line: c.line + bytes.Count(c.text[:at], []byte("\n")), Message: "JSON: " + err.Error()}
			break
		}
		begin := d.InputOffset() - int64(len(raw))
		line += bytes.Count(c.text[seen:begin], []byte("\n"))
		values = append(values, value{raw, line})
		seen = begin
	}
	for _, v := range values {
		t := tree{line: v.line - 1}
		root, err := t.readJSON(v.raw)
		r.add(&t, v.line, root, err, func() ([]byte, error) { return v.raw, nil })
	}
	if end != nil {
		r.broken(end.Line, end.Message)
	}
	return true
}

func (r *reader) yaml(c chunk) {
	t := tree{line: c.line - 1}
	root, err := t.readYAML(c.text)
	if err == errEmpty {
		return
	}
	r.add(&t, firstLine(c), root, err, func() ([]byte, error) { return yaml.YAMLToJSON(c.text) })
}

// add takes a document whose tree has been made; toJSON is asked for its values only once its size is known to be
// bounded.
func (r *reader) add(t *tree, line int, root *node, err error, toJSON func() ([]byte, error)) {
	if err == nil && root.size > r.budget {
		err = fmt.Errorf("the manifest is larger than %d bytes once its aliases are written out", MaxBytes)
	}
	var value any
	if err == nil {
		r.budget -= root.size
		var raw []byte
		if raw, err = toJSON(); err == nil {
			value, err = decodeAny(raw)
		}
	}
	if err != nil {
		text := err.Error()
		if m := regexp.MustCompile(`^yaml: (?:line (\d+): )?`).FindStringSubmatch(text); m != nil {
			text = "YAML: " + text[len(m[0]):]
			switch { // these name what may be the value of a Secret
			case strings.HasPrefix(text, "YAML: unknown anchor"):
				text = "YAML: an alias of an anchor that is not there: write a value that begins with * in quotes"
			case strings.HasPrefix(text, "YAML: cannot decode "):
				text = "YAML: a value that is not what its tag says: write it without the tag, or, if it begins with !, in quotes"
			}
			if n, err := strconv.Atoi(m[1]); err == nil {
				line = t.line + n
			}
		}
		r.broken(line, text)
		return
	}
	r.count++
	t.collisions(root, value, "")
	r.each(document{r.count, root, value, t.wrong})
}

// broken counts a document that cannot be read.
func (r *reader) broken(line int, text string) {
	r.count++
	r.wrong = append(r.wrong, Mistake{Document: r.count, Line: line, Message: text})
}

// decodeAny reads JSON with its numbers as they are written.
func decodeAny(raw []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	err := d.Decode(&v)
	return v, err
}

// firstLine is the line of a chunk's first text that is no comment.
func firstLine(c chunk) int {
	line := c.line
	for text := range bytes.Lines(c.text) {
		if !blank(text) {
			break
		}
		line++
	}
	return line
}
