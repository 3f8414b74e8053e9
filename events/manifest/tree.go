package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds how deep a document nests; the deepest field of Kubernetes' kinds is at about 15.
const maxDepth = 100

// node is where a value of a document stands: the tree knows lines and names, and no values.
type node struct {
	line   int // of a field its name's, of an item its first
	fields map[string]*node
	items  []*node

	size   int // bytes of its scalars and one for each node, aliases written out
	height int // levels below it
}

// at is the line of the field at path, "spec.ports[0].name" or "metadata.labels[app]"; of the deepest part of path
// that there is, where the field itself is missing.
func (n *node) at(path string) int {
	for path != "" {
		var next *node
		path, next = n.step(path)
		if next == nil {
			break
		}
		n = next
	}
	return n.line
}

// step takes the first part off the path and looks it up.
func (n *node) step(path string) (rest string, next *node) {
	if inner, ok := strings.CutPrefix(path, "["); ok {
		key, rest, _ := strings.Cut(inner, "]")
		if n.fields != nil {
			return rest, n.fields[key]
		}
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && i < len(n.items) {
			return rest, n.items[i]
		}
		return "", nil
	}
	path = strings.TrimPrefix(path, ".")
	end := strings.IndexAny(path, ".[")
	if end < 0 {
		end = len(path)
	}
	return path[end:], n.fields[path[:end]]
}

// item is the i-th of the field "items", or n itself when the document has that field twice and these are the other's.
func (n *node) item(i int) *node {
	if list := n.fields["items"]; list != nil && i < len(list.items) {
		return list.items[i]
	}
	return n
}

// child is the path of a field of the value at path.
func child(path, key string) string {
	if key == "" || strings.ContainsAny(key, "./[] ") {
		return path + "[" + key + "]"
	}
	return strings.TrimPrefix(path+"."+key, ".")
}

// parent is the path of what the field or item at path is part of.
func parent(path string) string {
	sep := "."
	if strings.HasSuffix(path, "]") {
		sep = "["
	}
	return path[:max(0, strings.LastIndex(path, sep))]
}

func index(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// tree makes the nodes of one document, and finds the fields that it has twice.
type tree struct {
	line   int // of the line before the document's first
	wrong  Mistakes
	done   map[*yaml.Node]*node // nil: being made
	merged int                  // fields that merges have written out so far
}

func (t *tree) mistake(line int, path, format string, args ...any) {
	t.wrong = append(t.wrong, Mistake{Line: line, Field: path, Message: fmt.Sprintf(format, args...)})
}

// add makes key of parent stand where n does, but at the line of the key.
func (t *tree) add(parent *node, path, key string, line int, n *node) {
	if first, ok := parent.fields[key]; ok {
		t.wrong = append(t.wrong, Mistake{Line: line, Field: child(path, key),
			Message: fmt.Sprintf("field stands here again: line %d has it already", first.line)})
		return
	}
	at := *n
	at.line = line
	parent.fields[key] = &at
	parent.grow(n, len(key))
}

// grow counts n as part of parent. Sizes stop at a limit far above what is taken, so that they cannot overflow.
func (n *node) grow(part *node, more int) {
	n.size = min(n.size+part.size+more, 1<<40)
	n.height = max(n.height, part.height+1)
}

var (
	errEmpty = errors.New("holds nothing")
	errDeep  = fmt.Errorf("nests more than %d levels deep", maxDepth)
	errWide  = fmt.Errorf("has more than %d fields once its merges are written out", maxMarks)
)

// readYAML makes the tree of a chunk. It fails on what is not YAML or more than one document, with errEmpty for one
// that holds nothing, and with errDeep.
func (t *tree) readYAML(text []byte) (*node, error) {
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	err := d.Decode(&doc)
	if err == io.EOF || err == nil && (len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null") {
		return nil, errEmpty
	}
	if err != nil {
		return nil, err
	}
	if err := d.Decode(&more); err != io.EOF {
		return nil, fmt.Errorf("yaml: line %d: a second document begins without a line \"---\" before it", more.Line)
	}
	t.done = map[*yaml.Node]*node{}
	return t.yaml(doc.Content[0], "", 0)
}

func (t *tree) yaml(y *yaml.Node, path string, depth int) (*node, error) {
	if n, ok := t.done[y]; ok {
		switch {
		case n == nil:
			return nil, fmt.Errorf("yaml: line %d: anchor %q holds itself", y.Line, y.Anchor)
		case depth+n.height > maxDepth:
			return nil, errDeep
		}
		return n, nil
	}
	if depth > maxDepth {
		return nil, errDeep
	}
	if y.Kind == yaml.AliasNode {
		return t.yaml(y.Alias, path, depth)
	}
	t.done[y] = nil
	n := &node{line: t.line + y.Line, size: 1 + len(y.Value)}
	if y.Style&yaml.TaggedStyle != 0 && !strings.HasPrefix(y.ShortTag(), "!!") || y.ShortTag() == "!!binary" {
		t.mistake(n.line, path, "tag %s: not taken", y.Tag)
	}
	var err error
	switch y.Kind {
	case yaml.MappingNode:
		err = t.mapping(n, y, path, depth)
	case yaml.SequenceNode:
		for i, item := range y.Content {
			var c *node
			if c, err = t.yaml(item, index(path, i), depth+1); err != nil {
				break
			}
			at := *c
			at.line = t.line + item.Line
			n.items = append(n.items, &at)
			n.grow(c, 0)
		}
	}
	t.done[y] = n
	return n, err
}

func (t *tree) mapping(n *node, y *yaml.Node, path string, depth int) error {
	n.fields = map[string]*node{}
	var merged []*node
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		c, err := t.yaml(value, child(path, key.Value), depth+1)
		switch {
		case err != nil:
			return err
		case key.Kind != yaml.ScalarNode:
			t.mistake(t.line+key.Line, path, "the name of a field must be a string")
		case key.ShortTag() == "!!merge":
			n.grow(c, 0)
			merged = append(append(merged, c), c.items...)
		default:
			t.add(n, path, key.Value, t.line+y.Content[i].Line, c)
		}
	}
	for _, m := range merged {
		if t.merged += len(m.fields); t.merged > maxMarks { // else one megabyte could ask for half an hour of this
			return errWide
		}
		for key, c := range m.fields {
			if _, ok := n.fields[key]; !ok {
				n.fields[key] = c
			}
		}
	}
	return nil
}

// collisions finds the objects in which fields that are written differently have one name: "yes" and "true", 1 and
// 0x1. Which of them is left over is chance.
func (t *tree) collisions(n *node, v any, path string) {
	switch v := v.(type) {
	case map[string]any:
		if len(v) < len(n.fields) {
			t.mistake(n.line, path, "two fields have the same name, written differently")
		}
		for k, c := range v {
			if f := n.fields[k]; f != nil {
				t.collisions(f, c, child(path, k))
			}
		}
	case []any:
		for i, c := range v[:min(len(v), len(n.items))] {
			t.collisions(n.items[i], c, index(path, i))
		}
	}
}

// readJSON makes the tree of one JSON value that is known to be whole.
func (t *tree) readJSON(raw []byte) (*node, error) {
	w := jsonWalk{tree: t, raw: raw, line: t.line + 1, d: json.NewDecoder(bytes.NewReader(raw))}
	return w.value("", 0)
}

// jsonWalk goes through the tokens of a JSON value and keeps count of its lines.
type jsonWalk struct {
	*tree
	raw  []byte
	d    *json.Decoder
	seen int64 // bytes whose newlines are counted in line
	line int
}

func (w *jsonWalk) next() (json.Token, error) {
	tok, err := w.d.Token()
	at := w.d.InputOffset()
	w.line += bytes.Count(w.raw[w.seen:at], []byte("\n"))
	if s, ok := tok.(string); ok && strings.ContainsRune(s, utf8.RuneError) {
		text := bytes.ToLower(w.raw[w.seen:at]) // which is not told: it may be the value of a Secret
		if !bytes.ContainsRune(text, utf8.RuneError) && !bytes.Contains(text, []byte(`\ufffd`)) {
			w.mistake(w.line, "", "half a character in a string here")
		}
	}
	w.seen = at
	return tok, err
}

func (w *jsonWalk) value(path string, depth int) (*node, error) {
	tok, err := w.next()
	if err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, errDeep
	}
	n := &node{line: w.line, size: 1}
	switch v := tok.(type) {
	case string:
		n.size += len(v)
	case json.Delim:
		if v == '{' {
			n.fields = map[string]*node{}
		}
		for i := 0; w.d.More(); i++ {
			if err := w.part(n, path, i, depth+1); err != nil {
				return nil, err
			}
		}
		_, err = w.next() // the closing one
	}
	return n, err
}

// part reads the i-th field or item of n.
func (w *jsonWalk) part(n *node, path string, i, depth int) error {
	if n.fields == nil {
		c, err := w.value(index(path, i), depth)
		if err != nil {
			return err
		}
		n.items = append(n.items, c)
		n.grow(c, 0)
		return nil
	}
	tok, err := w.next()
	if err != nil {
		return err
	}
	key, line := fmt.Sprint(tok), w.line
	c, err := w.value(child(path, key), depth)
	if err != nil {
		return err
	}
	w.add(n, path, key, line, c)
	return nil
}
