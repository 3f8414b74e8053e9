package manifest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// shape holds a document's values against the Go type that they are meant for and gathers every value of a wrong
// type, by its whole path: the decoder itself stops at the first, and does not say which item of a list it is in.
// A wrong value is replaced by null, so that the rest can be decoded and checked.
type shape struct {
	wrong []*field.Error
}

// fits reports whether v can be decoded as a t.
func (s *shape) fits(t reflect.Type, v any, path string) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if v == nil {
		return true
	}
	if readsItself(t) {
		return s.own(t, v, path)
	}
	switch t.Kind() {
	case reflect.Struct:
		m, ok := v.(map[string]any)
		if !ok {
			return s.not(path, v, "an object")
		}
		for _, f := range fieldsOf(t) {
			if c, ok := m[f.name]; ok && !s.fits(f.typ, c, child(path, f.name)) {
				m[f.name] = nil
			}
		}
		return true
	case reflect.Map:
		m, ok := v.(map[string]any)
		if !ok {
			return s.not(path, v, "an object")
		}
		for k, c := range m {
			if !s.fits(t.Elem(), c, path+"["+k+"]") {
				m[k] = nil
			}
		}
		return true
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return s.bytes(v, path)
		}
		list, ok := v.([]any)
		if !ok {
			return s.not(path, v, "a list")
		}
		for i, c := range list {
			if !s.fits(t.Elem(), c, index(path, i)) {
				list[i] = nil
			}
		}
		return true
	}
	return s.scalar(t, v, path)
}

// bytes checks what JSON writes in base64. It says nothing of the value, which may be a Secret's.
func (s *shape) bytes(v any, path string) bool {
	text, ok := v.(string)
	if ok {
		_, err := base64.StdEncoding.DecodeString(text)
		ok = err == nil
	}
	if !ok {
		inText := "stringData"
		if strings.HasPrefix(path, "binaryData[") {
			inText = "data"
		}
		s.wrong = append(s.wrong, field.TypeInvalid(at(path), field.OmitValueType{}, "must be a string in base64: "+inText+" takes what is not"))
	}
	return ok
}

func (s *shape) scalar(t reflect.Type, v any, path string) bool {
	switch t.Kind() {
	case reflect.String:
		if _, ok := v.(string); ok {
			return true
		}
		return s.not(path, v, "a string")
	case reflect.Bool:
		if _, ok := v.(bool); ok {
			return true
		}
		return s.not(path, v, "true or false")
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, ok := v.(json.Number)
		if ok {
			_, err := strconv.ParseInt(n.String(), 10, t.Bits())
			ok = err == nil
		}
		if ok {
			return true
		}
		return s.not(path, v, fmt.Sprintf("an integer of at most %d bits", t.Bits()))
	}
	return true // the decoder has the last word
}

// own checks a type that reads its own JSON.
func (s *shape) own(t reflect.Type, v any, path string) bool {
	if t == reflect.TypeFor[intstr.IntOrString]() {
		if _, ok := v.(string); ok {
			return true
		}
		if n, ok := v.(json.Number); ok {
			if _, err := strconv.ParseInt(n.String(), 10, 32); err == nil {
				return true
			}
		}
		return s.not(path, v, "an integer or a string")
	}
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, reflect.New(t).Interface())
	}
	if err == nil {
		return true
	}
	if t == reflect.TypeFor[resource.Quantity]() {
		if _, isText := v.(string); !isText {
			return s.not(path, v, "a quantity, like 100m or 64Mi")
		}
		s.wrong = append(s.wrong, field.Invalid(at(path), v, err.Error()))
		return false
	}
	s.wrong = append(s.wrong, field.TypeInvalid(at(path), v, err.Error()))
	return false
}

// not notes that the value at path is not what it must be.
func (s *shape) not(path string, v any, want string) bool {
	e := field.TypeInvalid(at(path), v, "must be "+want)
	switch x := v.(type) {
	case map[string]any:
		e.BadValue, e.Detail = "{…}", e.Detail+", not an object"
	case []any:
		e.BadValue, e.Detail = "[…]", e.Detail+", not a list"
	case string:
		e.Detail += ", not a string"
		if want == "true or false" || strings.HasPrefix(want, "an integer") {
			e.Detail += ": write it without quotes"
		}
	case json.Number:
		e.BadValue = raw(x.String())
		if want == "a string" {
			e.Detail += ": write it in quotes"
		}
	case bool:
		if want == "a string" {
			e.Detail += ": write it in quotes"
		}
	}
	s.wrong = append(s.wrong, e)
	return false
}

// raw prints as it is, for a field.Error.
type raw string

// MarshalJSON gives the text itself, which is a number's.
func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }

// at is path as a field.Path that prints as it.
func at(path string) *field.Path { return field.NewPath(path) }

// jsonField is one field of a struct as JSON has it.
type jsonField struct {
	name  string
	typ   reflect.Type
	index []int
}

// fieldsOf are the fields of a struct as JSON has them, those of embedded structs among them.
func fieldsOf(t reflect.Type) []jsonField {
	if fs, ok := fields()[t]; ok {
		return fs
	}
	return listFields(t)
}

// fields are those of all structs within an object of any kind; made when they are first asked for, and never changed. To list them again for
// each object is half of the work of taking it.
var fields = sync.OnceValue(func() map[reflect.Type][]jsonField {
	all := map[reflect.Type][]jsonField{}
	var visit func(reflect.Type)
	visit = func(t reflect.Type) {
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map:
			visit(t.Elem())
		case reflect.Struct:
			if _, ok := all[t]; ok || readsItself(t) {
				return
			}
			all[t] = listFields(t)
			for _, f := range all[t] {
				visit(f.typ)
			}
		}
	}
	for _, r := range Resources() {
		visit(reflect.TypeOf(r.New()))
	}
	return all
})

// readsItself reports whether a type has its own form in JSON.
func readsItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

func listFields(t reflect.Type) []jsonField {
	var fs []jsonField
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && name == "":
			for _, in := range listFields(f.Type) {
				in.index = append([]int{f.Index[0]}, in.index...)
				fs = append(fs, in)
			}
		default:
			fs = append(fs, jsonField{name, f.Type, f.Index})
		}
	}
	return fs
}
