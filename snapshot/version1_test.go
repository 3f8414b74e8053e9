package snapshot

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// What the original wrote, as its files are: each is read whole, or refused; what cannot be declared is named with the
// reason. Failure A.23: "default/x": null panics.
func TestReadVersion1(t *testing.T) {
	for name, want := range map[string]string{
		"01-empty":                         "",
		"02-example-1node":                 "deployment/default/nginx-deployment ingress/default/nginx-ingress service/default/nginx-service",
		"03-deployment-only-pods-empty":    "deployment/default/nginx-deployment",
		"10-agent-failed-apply-3-replicas": "deployment/default/nginx-deployment",
		"04-rich-3nodes-pods-map": "deployment/default/nginx-deployment deployment/default/nonamespace deployment/default/web deployment/staging/web deployment/staging/zero " +
			"ingress/default/nginx-ingress ingress/default/web service/default/nginx-service service/default/web service/default/web-np service/staging/headless",
		"20-torn-half":            "!",
		"21-zero-length":          "!",
		"24-json-null":            "!",
		"29-doc-style-STORAGE.md": " - deployment/default/nginx: … service/default/nginx-service: … ingress/default/nginx-ingress: …",
	} {
		data, err := os.ReadFile(filepath.Join("testdata", "version1", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		all, refused, left, err := ReadVersion1(data)
		maps.DeleteFunc(all, func(_ string, o json.RawMessage) bool { return o == nil })
		got := strings.Join(slices.Sorted(maps.Keys(all)), " ")
		for _, l := range left {
			if l.Key != "ingress/default/web" || strings.Join(l.Fields, " ") != "Rules[2].Paths[0]" || !strings.Contains(l.Why, "of no Service") || !strings.Contains(l.Why, nowhereNote) {
				t.Errorf("%s: left out: %+v", name, l)
			}
		}
		if len(left) != strings.Count(want, "ingress/default/web ") {
			t.Errorf("%s: left out: %+v", name, left)
		}
		for i, r := range refused {
			if i == 0 {
				got += " -"
			}
			got += " " + r.Key + ": …"
			t.Logf("%s: %s: %s", name, r.Key, r.Why)
		}
		if err != nil {
			got = "!"
			if !errors.Is(err, ErrNotVersion1) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
		for key, o := range all {
			t.Logf("%s %.300s", key, o)
		}
	}
}

// What is declared of a file of version 1 has every field that the file gives it; what is refused is kept as the file has it.
func TestReadVersion1_fieldsAreKeptWhole(t *testing.T) {
	seen := 0
	for file, data := range found(t) {
		var doc map[string]json.RawMessage
		want, refused, _, err := ReadVersion1(data)
		if err != nil || json.Unmarshal(data, &doc) != nil {
			continue
		}
		for section, typ := range map[string]string{"deployments": "deployment", "services": "service", "ingresses": "ingress"} {
			var objects map[string]map[string]any
			if err := json.Unmarshal(doc[section], &objects); err != nil && len(doc[section]) > 0 {
				t.Fatalf("%s: %v", file, err)
			}
			for of, original := range objects {
				seen++
				ns, name, ok := strings.Cut(of, "/")
				if !ok {
					ns, name = "", of
				}
				key := typ + "/" + cmp.Or(ns, "default") + "/" + name
				object, ok := want[key]
				if !ok {
					t.Errorf("%s: nothing is said of %s: there are %v", file, key, slices.Sorted(maps.Keys(want)))
				}
				if object == nil {
					i := slices.IndexFunc(refused, func(r Refusal) bool { return r.Key == key })
					var kept map[string]any
					if i < 0 || json.Unmarshal(refused[i].Original, &kept) != nil || !reflect.DeepEqual(kept, original) {
						t.Errorf("%s: %s is refused, and not kept as it is", file, key)
					}
					continue
				}
				var got struct {
					Metadata, Spec map[string]any
				}
				if err := json.Unmarshal(object, &got); err != nil {
					t.Fatal(err)
				}
				for field, in := range map[string]any{"Template": got.Spec["template"], "DesiredReplicas": got.Spec["replicas"], "Selector": got.Spec["selector"],
					"Labels": got.Metadata["labels"], "Annotations": got.Metadata["annotations"], "Type": got.Spec["type"], "ClusterIP": got.Spec["clusterIP"], "Ports": got.Spec["ports"]} {
					if missing := lacks(original[field], in); missing != "" {
						t.Errorf("%s: %s: %s%s is %v, and in what is declared %v", file, key, field, missing, original[field], in)
					}
				}
				if rules, ok := original["Rules"].([]any); ok {
					in, _ := json.Marshal(got.Spec["rules"])
					notes, _ := got.Metadata["annotations"].(map[string]any)
					note, _ := notes[nowhereNote].(string)
					for _, r := range rules {
						for _, p := range r.(map[string]any)["Paths"].([]any) {
							p := p.(map[string]any)
							if p["ServiceName"] == "" {
								if kept := nowhereIn(t, note); !slices.ContainsFunc(kept, func(k any) bool { return reflect.DeepEqual(k, any(p)) }) {
									t.Errorf("%s: %s: %v is not among %v", file, key, p, kept)
								}
								continue
							}
							like := fmt.Sprintf(`{"backend":{"service":{"name":%q,"port":{"number":%v}}},"path":%q`, p["ServiceName"], p["ServicePort"], p["Path"])
							if !strings.Contains(string(in), like) {
								t.Errorf("%s: %s: %s is not in %s", file, key, like, in)
							}
						}
					}
				}
			}
		}
	}
	if seen < 15 {
		t.Errorf("only %d objects were looked at", seen)
	}
}

// nowhereIn are the paths that an annotation keeps, as they are in the file.
func nowhereIn(t *testing.T, note string) (all []any) {
	t.Helper()
	var kept []nowhere
	if err := json.Unmarshal([]byte(note), &kept); err != nil {
		t.Fatalf("%q: %v", note, err)
	}
	for _, k := range kept {
		for _, p := range k.Paths {
			var path any
			if err := json.Unmarshal(p, &path); err != nil {
				t.Fatal(err)
			}
			all = append(all, path)
		}
	}
	return all
}

// A path that leads to no Service is in no rule of the Ingress, and in its annotation as it stood in the file, beside those that it has; its rule stays, so
// that what is said of its host stays. One of which half is said is no such path.
func TestReadVersion1_pathsThatLeadNowhere(t *testing.T) {
	const s = `{"Path":"/s","PathType":"Prefix","ServiceName":"s","ServicePort":80}`
	for _, c := range []struct{ object, rules, note, left, why string }{
		{`"Rules":[{"Host":"h","Paths":[{"Path":"/a","PathType":null,"ServiceName":"","ServicePort":0},` + s + `,{"path":"/b"}]}],"Annotations":{"a":"b"}`,
			`[{"host":"h","http":{"paths":[{"path":"/s","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}}]`,
			`[{"host":"h","paths":[{"Path":"/a","PathType":null,"ServiceName":"","ServicePort":0},{"path":"/b"}]}]`, "Rules[0].Paths[0] Rules[0].Paths[2]", ""},
		{`"rules":[{"host":"g","paths":[` + s + `]},{"host":"h","paths":[{"path":"/a"}]},{"paths":[null]}]`,
			`[{"host":"g","http":{"paths":[{"path":"/s","pathType":"Prefix","backend":{"service":{"name":"s","port":{"number":80}}}}]}},{"host":"h"},{}]`,
			`[{"host":"h","paths":[{"path":"/a"}]},{"host":"","paths":[null]}]`, "rules[1].paths[0] rules[2].paths[0]", ""},
		{`"Rules":[{"Paths":[{"Path":"/a","ServicePort":80}]}]`, "", "", "", "spec.rules[0].http.paths[0].backend.service.name"},
		{`"Rules":[{"Paths":[{"Path":"/a","ServiceName":"s"}]}]`, "", "", "", "port name or number is required"},
		{`"Rules":[{"Paths":[{"Path":"/a"}]}],"Annotations":{"a":1}`, "", "", "", "annotations: "},
	} {
		want, refused, left, err := ReadVersion1([]byte(`{"version":1,"ingresses":{"x":{` + c.object + `}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if c.why != "" {
			if len(refused) != 1 || !strings.Contains(refused[0].Why, c.why) || len(left) > 0 {
				t.Errorf("%s: got %+v, left %+v; want it refused: %s", c.object, refused, left, c.why)
			}
			continue
		}
		var got struct {
			Metadata struct{ Annotations map[string]string }
			Spec     struct{ Rules json.RawMessage }
		}
		if err := json.Unmarshal(want["ingress/default/x"], &got); err != nil {
			t.Fatalf("%s: %v, refused %+v", c.object, err, refused)
		}
		if !same(got.Spec.Rules, json.RawMessage(c.rules)) || got.Metadata.Annotations[nowhereNote] != c.note ||
			got.Metadata.Annotations["a"] == "" && strings.Contains(c.object, "Annotations") {
			t.Errorf("%s:\ngot  %s\n     %v", c.object, got.Spec.Rules, got.Metadata.Annotations)
		}
		if len(left) != 1 || strings.Join(left[0].Fields, " ") != c.left || left[0].Key != "ingress/default/x" {
			t.Errorf("%s: left out: %+v", c.object, left)
		}
	}
}

// lacks is where something of what there was, but for what is empty, is not in what there is; "": it all is.
func lacks(was, is any) string {
	switch was := was.(type) {
	case map[string]any:
		in, _ := is.(map[string]any)
		for k, v := range was {
			if missing := lacks(v, in[k]); missing != "" {
				return "." + k + missing
			}
		}
	case []any:
		in, _ := is.([]any)
		if len(in) != len(was) {
			return "[]"
		}
		for i, v := range was {
			if missing := lacks(v, in[i]); missing != "" {
				return fmt.Sprintf("[%d]%s", i, missing)
			}
		}
	default:
		if was != nil && !reflect.ValueOf(was).IsZero() && !reflect.DeepEqual(was, is) {
			return " "
		}
	}
	return ""
}

// One entry that is something else is refused, by its key and kept as it is, and costs no other. Where a whole section is, the file is not
// taken over in part, and the reason is told: it is of version 1 all the same.
func TestReadVersion1_oneEntryOfAWrongType(t *testing.T) {
	whole := read(t, "testdata/version1/02-example-1node.json")
	all, _, _, err := ReadVersion1(whole)
	if err != nil || len(all) != 3 {
		t.Fatalf("got %v, %v", all, err)
	}
	with := func(field, value string) []byte {
		var doc map[string]json.RawMessage
		if err := json.Unmarshal(whole, &doc); err != nil {
			t.Fatal(err)
		}
		doc[field] = json.RawMessage(value)
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, entry := range []string{`"here"`, `[1,2]`, `7`} {
		got, refused, _, err := ReadVersion1(with("services", `{"default/odd":`+entry+`}`))
		if err != nil || got["deployment/default/nginx-deployment"] == nil || got["ingress/default/nginx-ingress"] == nil {
			t.Errorf("%s: the others: got %v, %v", entry, slices.Sorted(maps.Keys(got)), err)
		}
		if o, ok := got["service/default/odd"]; !ok || o != nil {
			t.Errorf("%s: got %s, %v; want that whatever is there stays", entry, o, ok)
		}
		if len(refused) != 1 || refused[0].Key != "service/default/odd" || string(refused[0].Original) != entry || !strings.Contains(refused[0].Why, "cannot unmarshal") {
			t.Errorf("%s: got %+v", entry, refused)
		}
	}
	for field, value := range map[string]string{"services": `[]`, "last_modified": `"yesterday"`} {
		if _, _, _, err := ReadVersion1(with(field, value)); err == nil || errors.Is(err, ErrNotVersion1) || !strings.Contains(err.Error(), "version 1 that cannot be read: "+field+": ") {
			t.Errorf("%s: got %v", field, err)
		}
		if _, err := source(with(field, value), seal.Keys{}); err == nil || errors.Is(err, ErrNoBackup) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s, to restore from: got %v", field, err)
		}
	}
	var syntax *json.SyntaxError
	if _, err := source(whole[:len(whole)/2], seal.Keys{}); !errors.Is(err, ErrNoBackup) || !errors.As(err, &syntax) {
		t.Errorf("half of it: got %v, want ErrNoBackup and where it breaks off", err)
	}
}

// Both spellings of one field may stand there if they say the same; else the object is refused, whichever comes first. A field that is not known is named, at whatever
// depth, and leaves the object as it is.
func TestReadVersion1_spellings(t *testing.T) {
	const template = `"Template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}`
	for _, c := range []struct{ section, typ, object, declared, why, left string }{
		{"deployments", "deployment", template + `,"DesiredReplicas":3,"desired_replicas":3`, `"replicas":3`, "", ""},
		{"deployments", "deployment", template + `,"DesiredReplicas":null,"desired_replicas":3`, `"replicas":3`, "", ""},
		{"deployments", "deployment", template + `,"DesiredReplicas":3,"desired_replicas":null`, `"replicas":3`, "", ""},
		{"deployments", "deployment", template + `,"DesiredReplicas":3,"desired_replicas":4`, "", "DesiredReplicas and desired_replicas do not say the same", ""},
		{"deployments", "deployment", template + `,"Labels":{"a":"b"},"labels":{}`, "", "Labels and labels do not say the same", ""},
		{"deployments", "deployment", template + `,"Pods":[1],"pods":[]`, `"image":"i:1"`, "", ""},
		{"deployments", "deployment", template + `,"Paused":true,"max_surge":1,"Strategy":null`, `"image":"i:1"`, "", "Paused max_surge"},
		{"ingresses", "ingress", `"rules":[{"host":"h","paths":[{"path":"/","path_type":"Exact","service_name":"s","ServicePort":80,"weight":1}],"Tls":{}}],"class":"x"`,
			`"pathType":"Exact","backend":{"service":{"name":"s","port":{"number":80}}}`, "", "class rules[0].Tls rules[0].paths[0].weight"},
		{"ingresses", "ingress", `"rules":[{"paths":[{"path":"/","ServiceName":"s","service_name":"t","ServicePort":80}]}]`, "", "rules[0]: paths[0]: ServiceName and service_name do not say the same", ""},
	} {
		for range 20 { // the order of a map is another each time
			want, refused, left, err := ReadVersion1([]byte(`{"version":1,"` + c.section + `":{"x":{` + c.object + `}}}`))
			if err != nil {
				t.Fatal(err)
			}
			var why, fields string
			if len(refused) > 0 {
				why = refused[0].Why
			}
			if len(left) > 0 {
				fields = strings.Join(left[0].Fields, " ")
			}
			if got := string(want[c.typ+"/default/x"]); why != c.why || fields != c.left || c.declared != "" && !sameIn(got, c.declared) || c.declared == "" && got != "" {
				t.Fatalf("%s: got %s, refused %q, left %q", c.object, got, why, fields)
			}
		}
	}
}

// sameIn reports whether each of the fields, in whichever order, is in an object.
func sameIn(object, fields string) bool {
	for _, x := range strings.FieldsFunc(fields, func(r rune) bool { return strings.ContainsRune("{},", r) }) {
		if !strings.Contains(object, x) {
			return false
		}
	}
	return true
}
