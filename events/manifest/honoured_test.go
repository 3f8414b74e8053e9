package manifest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// whole are the types that are taken with all of their fields, whatever a later k8s.io/api adds to them: statuses and
// managed fields, which are not recorded, and small ones that are recorded and served as they are.
func whole() []string {
	return []string{
		"DeploymentStatus", "ServiceStatus", "IngressStatus", "NamespaceStatus", "ManagedFieldsEntry",
		"LabelSelectorRequirement", "SessionAffinityConfig", "TypedLocalObjectReference",
	}
}

// fieldsSeen is every type of the table that an object can hold, by name.
func fieldsSeen(t *testing.T) map[string]reflect.Type {
	seen := map[string]reflect.Type{}
	rs := rules()
	var visit func(typ reflect.Type)
	visit = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || reflect.PointerTo(typ).Implements(reflect.TypeFor[json.Unmarshaler]()) {
			return
		}
		name := typ.Name()
		if was, ok := seen[name]; ok {
			if was != typ {
				t.Errorf("two types are called %s: %v and %v; the table cannot tell them apart", name, was, typ)
			}
			return
		}
		taken, ok := rs[name]
		if !ok {
			if !slices.Contains(whole(), name) {
				t.Errorf("type %v can be held and is in no table: its fields would be taken unseen", typ)
			}
			return
		}
		seen[name] = typ
		for _, f := range fieldsOf(typ) {
			if r, ok := taken[f.name]; ok && !r.neutral {
				visit(f.typ)
			}
		}
	}
	for _, r := range Resources() {
		visit(reflect.TypeOf(r.New()))
	}
	return seen
}

// fill sets v to something.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		v.SetMapIndex(key, elem)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); f.CanSet() && f.Kind() != reflect.Interface {
				fill(f)
				return
			}
		}
	}
}

// Line 26 of what went wrong before, of fields that exist: whatever Kubernetes' types hold is either honoured or
// refused by name. The golden file shows which, and what an upgrade of k8s.io/api adds.
func TestTable_everyFieldTakenOrRefused(t *testing.T) {
	rs := rules()
	var list strings.Builder
	seen := fieldsSeen(t)
	for _, name := range sorted(seen) {
		for _, f := range fieldsOf(seen[name]) {
			if f.name == "apiVersion" || f.name == "kind" && f.typ.Name() == "string" {
				continue
			}
			full := name + "." + f.name
			r, taken := rs[name][f.name]
			v := reflect.New(seen[name]).Elem()
			fill(v.FieldByIndex(f.index))
			var a allow
			a.walk(v, field.NewPath("x"))
			switch {
			case taken && r.only == "":
				fmt.Fprintf(&list, "%s\ttaken\n", full)
				if len(a.wrong) > 0 && a.wrong[0].Field == "x."+f.name {
					t.Errorf("%s is in the table and was refused: %v", full, a.wrong)
				}
				continue
			case len(a.wrong) == 0 && !(f.typ.Kind() == reflect.Pointer && f.typ.Elem().Kind() == reflect.Bool):
				t.Errorf("%s is set and was neither taken nor refused", full)
				continue
			case len(a.wrong) > 0 && a.wrong[0].Field != "x."+f.name:
				t.Errorf("%s: got %v", full, a.wrong)
			}
			why := ""
			if len(a.wrong) > 0 {
				why = a.wrong[0].Detail
			}
			if taken {
				fmt.Fprintf(&list, "%s\tonly %s\n", full, r.only)
			} else {
				fmt.Fprintf(&list, "%s\trefused\t%s\n", full, why)
			}
		}
	}
	golden(t, "testdata/fields.txt", list.String())
}

func TestTable_namesWhatThereIs(t *testing.T) {
	seen := fieldsSeen(t)
	has := func(typ, name string) bool {
		return slices.ContainsFunc(fieldsOf(seen[typ]), func(f jsonField) bool { return f.name == name })
	}
	rs := rules()
	for typ, fields := range rs {
		if seen[typ] == nil {
			t.Errorf("type %s is in the table and cannot be held", typ)
			continue
		}
		for name := range fields {
			if !has(typ, name) {
				t.Errorf("%s.%s is in the table and is no field", typ, name)
			}
		}
	}
	for full := range reasons() {
		typ, name, _ := strings.Cut(full, ".")
		if seen[typ] == nil || !has(typ, name) {
			t.Errorf("a reason is given for %s, which is no field", full)
		} else if r, ok := rs[typ][name]; ok && r.only == "" {
			t.Errorf("a reason is given for %s, which is taken", full)
		}
	}
}

func TestTable_valuesThatSayWhatHappensAnyway(t *testing.T) {
	with := `
      serviceAccountName: default
      automountServiceAccountToken: false
      enableServiceLinks: false
      shareProcessNamespace: false
      hostUsers: true
`
	without := "\n"
	a, b := one(t, deployment(with)), one(t, deployment(without))
	if !Same(a, b) {
		t.Errorf("not the same:\n%s\n%s", encoded(t, a), encoded(t, b))
	}
	for _, other := range []string{"enableServiceLinks: true", "hostUsers: false", "serviceAccount: x", "schedulerName: x"} {
		if _, err := Parse([]byte(deployment("\n      "+other+"\n")), ""); err == nil {
			t.Errorf("%s: taken, and would not be done", other)
		}
	}
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
