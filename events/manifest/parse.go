package manifest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Item is one object of a manifest, defaulted and valid.
type Item struct {
	Object   Object
	Key      string // of its events: "deployment/default/nginx"
	Document int    // from 1, among the documents that hold something
	Line     int    // of its first field, from 1, in the whole manifest
}

// Parse reads a manifest: YAML documents separated by "---", JSON values one after another, and lists of objects
// (kind List, DeploymentList, …) in either. It returns all of its objects in their order, defaulted and valid, or
// none and an error that is a Mistakes, with everything that is wrong in every document. An object without a
// namespace gets defaultNamespace, or "default" if that is "". Two objects of one key are a mistake, and so is a
// manifest without any.
//
// Input of any kind is safe: its size, its depth and what its aliases amount to are bounded.
func Parse(data []byte, defaultNamespace string) ([]Item, error) {
	p := parser{namespace: cmp.Or(defaultNamespace, metav1.NamespaceDefault), first: map[string]Item{}}
	unread := read(data, func(d document) {
		p.document(d)
		p.object(d, d.value, d.root, metav1.TypeMeta{})
	})
	p.wrong = append(p.wrong, unread...)
	if len(p.items) == 0 && len(p.wrong) == 0 {
		p.wrong = Mistakes{{Message: "the manifest holds no objects"}}
	}
	if len(p.wrong) > 0 {
		return nil, ordered(p.wrong)
	}
	return p.items, nil
}

// DecodeStrict reads the one object of an API body, JSON or YAML, strictly and as it stands: nothing is defaulted,
// validated or filled in. The error is a Mistakes.
func DecodeStrict(data []byte) (Object, error) {
	var p parser
	var o Object
	n := 0
	unread := read(data, func(d document) {
		n++
		p.document(d)
		o = p.decode(&source{document: d, node: d.root}, d.value)
	})
	p.wrong = append(p.wrong, unread...)
	if n != 1 && len(unread) == 0 {
		p.wrong = Mistakes{{Message: fmt.Sprintf("%d objects: want one", n)}}
	}
	if len(p.wrong) > 0 {
		return nil, ordered(p.wrong)
	}
	return o, nil
}

func ordered(ms Mistakes) Mistakes {
	slices.SortStableFunc(ms, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Document, b.Document), cmp.Compare(a.Field, b.Field))
	})
	return ms
}

// parser gathers the objects of a manifest.
type parser struct {
	namespace string
	items     []Item
	first     map[string]Item // by key
	wrong     Mistakes
}

// source is where an object stands, and what mistakes about it are called.
type source struct {
	document
	node     *node
	resource Resource
	label    string
	name     string
	inText   map[string]bool // of a Secret: what stands in stringData
}

func (p *parser) mistake(s *source, path string, typ metav1.CauseType, message string) {
	p.wrong = append(p.wrong, Mistake{Document: s.number, Line: s.node.at(path), Object: s.label, Field: path,
		Type: typ, Message: message, resource: s.resource.Plural, name: s.name})
}

func (p *parser) refuse(s *source, e *field.Error) {
	if e.Field = s.written(e.Field); s.resource.confidential(e.Field) {
		e.BadValue = field.OmitValueType{}
	}
	p.mistake(s, e.Field, metav1.CauseType(e.Type), e.ErrorBody())
	if key, ok := e.BadValue.(string); ok { // a label with a bad name is blamed on all labels
		p.wrong[len(p.wrong)-1].Line = s.node.at(e.Field + "[" + key + "]")
	}
}

// document notes what is wrong with a document whatever it holds.
func (p *parser) document(d document) {
	s := &source{document: d, node: d.root}
	p.names(s, d.value)
	for _, m := range d.wrong {
		if tag, _, ok := strings.Cut(m.Message, " "); ok && tag == "tag" && s.resource.confidential(m.Field) {
			m.Message = "tag: not taken. Write a value that begins with ! in quotes"
		}
		m.Document, m.Object, m.resource, m.name = d.number, s.label, s.resource.Plural, s.name
		p.wrong = append(p.wrong, m)
	}
}

// object takes the value at n, which is one object or a list of them; like is what a typed list's items are.
func (p *parser) object(d document, value any, n *node, like metav1.TypeMeta) {
	s := &source{document: d, node: n}
	m, ok := value.(map[string]any)
	if ok && like.Kind != "" {
		for k, v := range map[string]string{"kind": like.Kind, "apiVersion": like.APIVersion} {
			if _, ok := m[k]; !ok {
				m[k] = v
			}
		}
	}
	if item, ok := listOf(m); ok {
		p.list(s, m, item)
		return
	}
	o := p.decode(s, value)
	if o == nil {
		return
	}
	bad := len(p.wrong)
	if s.resource.Namespaced && o.GetNamespace() == "" {
		o.SetNamespace(p.namespace)
	}
	s.inText = textOf(o)
	Default(o)
	for _, e := range Validate(o, nil) {
		if e.Type == field.ErrorTypeRequired && e.Field == "metadata.name" && o.GetGenerateName() != "" {
			e.Detail = "cannot use generate name with apply" // as kubectl says
		}
		p.refuse(s, e)
	}
	if raw, err := Encode(o); err != nil || len(raw) > MaxObjectBytes {
		p.mistake(s, "", "", fmt.Sprintf("%d bytes as it would be recorded: at most %d are taken", len(raw), MaxObjectBytes))
	}
	item := Item{o, Key(o), d.number, n.line}
	if was, ok := p.first[item.Key]; ok && o.GetName() != "" {
		e := field.Duplicate(field.NewPath("metadata", "name"), o.GetName())
		e.Detail = fmt.Sprintf("document %d, line %d has this %s already", was.Document, was.Line, s.resource.Kind)
		p.refuse(s, e)
	} else {
		p.first[item.Key] = item
	}
	if len(p.wrong) == bad {
		p.items = append(p.items, item)
	}
}

// listOf reports whether m is a list of objects, and what its items are if it says so.
func listOf(m map[string]any) (item metav1.TypeMeta, ok bool) {
	kind, _ := m["kind"].(string)
	version, _ := m["apiVersion"].(string)
	if kind == "List" && version == "v1" {
		return metav1.TypeMeta{}, true
	}
	r, ok := ByKind(strings.TrimSuffix(kind, "List"))
	return r.typeMeta(), ok && kind == r.Kind+"List" && version == r.APIVersion()
}

func (p *parser) list(s *source, m map[string]any, item metav1.TypeMeta) {
	s.label = fmt.Sprint(m["kind"])
	for k, v := range m {
		items, ok := v.([]any)
		switch {
		case k == "kind" || k == "apiVersion" || k == "metadata":
		case k != "items":
			p.mistake(s, child("", k), CauseTypeUnknown, "unknown field")
		case ok:
			for i, v := range items {
				p.object(s.document, v, s.node.item(i), item)
			}
		case v != nil:
			p.mistake(s, k, typeInvalid, "must be a list")
		}
	}
}

// decode reads one object strictly. It returns nil where what is wrong leaves nothing to check further.
func (p *parser) decode(s *source, value any) Object {
	m, ok := value.(map[string]any)
	if !ok {
		p.mistake(s, "", typeInvalid, "must be an object with apiVersion and kind")
		return nil
	}
	if !p.known(s, m) {
		return nil
	}
	o := s.resource.New()
	var sh shape
	sh.fits(reflect.TypeOf(o), m, "")
	for _, e := range sh.wrong {
		p.refuse(s, e)
	}
	raw, err := json.Marshal(m)
	if err == nil {
		_, _, err = strict().Decode(raw, nil, o)
	}
	p.strictErrors(s, err)
	switch {
	case err != nil && !runtime.IsStrictDecodingError(err):
		return nil
	case len(sh.wrong) > 0:
		p.rest(s, o, sh.wrong)
		return nil
	}
	return o
}

// rest validates what is left of an object of a manifest with values of a wrong type in it, and keeps quiet of what
// those explain: what is wrong within them, or with all that one of them is directly part of.
func (p *parser) rest(s *source, o Object, wrong []*field.Error) {
	if p.first == nil {
		return // one object as it stands
	}
	if s.resource.Namespaced {
		o.SetNamespace(cmp.Or(o.GetNamespace(), p.namespace))
	}
	s.inText = textOf(o)
	Default(o)
	within, about := map[string]bool{}, map[string]bool{}
	for _, w := range wrong {
		within[w.Field], about[w.Field], about[parent(w.Field)] = true, true, true
	}
	for _, e := range Validate(o, nil) {
		explained := about[e.Field]
		for path := e.Field; path != "" && !explained; path = parent(path) {
			explained = within[path]
		}
		if !explained {
			p.refuse(s, e)
		}
	}
}

// names finds out what kind of object the value says it is, and what to call it.
func (p *parser) names(s *source, value any) (kind, version string) {
	word := func(of any, key string) string {
		m, _ := of.(map[string]any)
		v, _ := m[key].(string)
		return v
	}
	m, _ := value.(map[string]any)
	kind, version = word(m, "kind"), word(m, "apiVersion")
	s.resource, _ = ByKind(kind)
	s.name = word(m["metadata"], "name")
	namespace := word(m["metadata"], "namespace")
	if s.resource.Namespaced {
		namespace = cmp.Or(namespace, p.namespace)
	}
	s.label = label(kind, namespace, s.name)
	return kind, version
}

// known reports whether the value is of a kind that is taken, and refuses it otherwise.
func (p *parser) known(s *source, m map[string]any) bool {
	kind, version := p.names(s, m)
	path := func(name string) *field.Path { return field.NewPath(name) }
	switch {
	case kind == "":
		p.refuse(s, field.Required(path("kind"), "this agent takes "+kinds()))
	case version == "":
		p.refuse(s, field.Required(path("apiVersion"), ""))
	case s.resource.Kind == "":
		p.mistake(s, "kind", metav1.CauseType(field.ErrorTypeNotSupported),
			fmt.Sprintf("no kind %q of %q: this agent takes %s", kind, version, kinds()))
	case version != s.resource.APIVersion():
		p.refuse(s, field.NotSupported(path("apiVersion"), version, []string{s.resource.APIVersion()}))
	default:
		return true
	}
	return false
}

// strictErrors notes what the decoder complains of: a field that the kind does not have, or whatever else shape did
// not see coming.
func (p *parser) strictErrors(s *source, err error) {
	strict, ok := runtime.AsStrictDecodingError(err)
	if !ok {
		if err != nil {
			p.mistake(s, "", "", err.Error())
		}
		return
	}
	for _, err := range strict.Errors() {
		if quoted, ok := strings.CutPrefix(err.Error(), "unknown field "); ok {
			if path, err := strconv.Unquote(quoted); err == nil {
				p.mistake(s, path, CauseTypeUnknown, "unknown field")
				continue
			}
		}
		p.mistake(s, "", "", err.Error())
	}
}

// strict is Kubernetes' decoder for the kinds of Resources and no others, made when it is first asked for.
var strict = sync.OnceValue(func() *serializer.Serializer {
	scheme := runtime.NewScheme()
	for _, r := range Resources() {
		scheme.AddKnownTypeWithName(r.GroupVersionKind(), r.New())
	}
	return serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme, scheme,
		serializer.SerializerOptions{Strict: true})
})
