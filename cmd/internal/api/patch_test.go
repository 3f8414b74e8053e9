package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const (
	asStrategic = "Content-Type: application/strategic-merge-patch+json"
	asMerge     = "Content-Type: application/merge-patch+json"
	asJSONPatch = "Content-Type: application/json-patch+json"
)

func TestPatch(t *testing.T) {
	for _, c := range []struct {
		name, as, patch string
		code            int
		field, want     string
	}{
		{"strategic: containers are merged by name", asStrategic,
			`{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:2"}]}}}}`, 200,
			"spec.template.spec.containers.0", `{"image":"web:2","imagePullPolicy":"IfNotPresent","name":"web","ports":[{"containerPort":80,"protocol":"TCP"}],"resources":{}}`},
		{"strategic: a container more", asStrategic,
			`{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"web"}],"containers":[{"name":"web","env":[{"name":"A","value":"1"}]}]}}}}`, 200,
			"spec.template.spec.containers.0.env", `[{"name":"A","value":"1"}]`},
		{"strategic: delete a label", asStrategic, `{"metadata":{"labels":{"tier":null}}}`, 200, "metadata.labels", ""},
		{"strategic: replace", asStrategic, `{"metadata":{"labels":{"$patch":"replace","a":"b"}}}`, 200, "metadata.labels", `{"a":"b"}`},
		{"merge: lists are replaced", asMerge, `{"spec":{"template":{"spec":{"containers":[{"name":"other","image":"o:1"}]}}}}`, 200,
			"spec.template.spec.containers.0.name", "other"},
		{"merge: null deletes", asMerge, `{"metadata":{"labels":null}}`, 200, "metadata.labels", ""},
		{"json: replace", asJSONPatch, `[{"op":"replace","path":"/spec/replicas","value":4}]`, 200, "spec.replicas", "4"},
		{"json: test holds", asJSONPatch, `[{"op":"test","path":"/spec/replicas","value":2},{"op":"add","path":"/metadata/annotations","value":{"a.b/c":"d"}}]`, 200, "metadata.annotations.a~b/c", "d"},
		{"json: test does not hold", asJSONPatch, `[{"op":"test","path":"/spec/replicas","value":3},{"op":"remove","path":"/spec/replicas"}]`, 422, "reason", "Invalid"},
		{"json: nowhere", asJSONPatch, `[{"op":"remove","path":"/spec/none"}]`, 422, "reason", "Invalid"},
		{"json: no list", asJSONPatch, `{"op":"remove"}`, 400, "reason", "BadRequest"},
		{"merge: no object", asMerge, `[1]`, 400, "reason", "BadRequest"},
		{"strategic: no JSON", asStrategic, `{`, 400, "reason", "BadRequest"},
		{"strategic: wrong shape", asStrategic, `{"spec":{"template":{"spec":{"containers":{"name":"web"}}}}}`, 400, "reason", "BadRequest"},
		{"invalid", asMerge, `{"spec":{"replicas":-1}}`, 422, "reason", "Invalid"},
		{"unknown field", asMerge, `{"spec":{"replica":1}}`, 400, "reason", "BadRequest"},
		{"wrong type", asMerge, `{"spec":{"replicas":"one"}}`, 400, "reason", "BadRequest"},
		{"other name", asMerge, `{"metadata":{"name":"other"}}`, 400, "reason", "BadRequest"},
		{"other uid", asMerge, `{"metadata":{"uid":"other"}}`, 409, "reason", "Conflict"},
		{"other kind", asMerge, `{"kind":"Service","apiVersion":"v1","spec":null,"status":null}`, 400, "reason", "BadRequest"},
		{"server-side apply", "Content-Type: application/apply-patch+yaml", `{}`, 415, "reason", "UnsupportedMediaType"},
		{"merge: every escape of JSON", asMerge, `{"metadata":{"annotations":{"a":"x\/y \ud83d\ude00"}}}`, 200, "metadata.annotations.a", "x/y 😀"},
		{"json: every escape of JSON", asJSONPatch, `[{"op":"add","path":"/metadata/annotations","value":{"a":"\ud83d\ude00\/"}}]`, 200, "metadata.annotations.a", "😀/"},
		{"strategic: every escape of JSON", asStrategic, `{"metadata":{"annotations":{"a":"\ud83d\ude00\/"}}}`, 200, "metadata.annotations.a", "😀/"},
		{"nothing", asMerge, `{}`, 200, "metadata.generation", "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := start(t, t.TempDir())
			before := a.want(201, "POST", deploymentsPath, deployment("web", 2, "web:1", "tier: front"))
			got := a.want(c.code, "PATCH", webPath, c.patch, c.as)
			if f := got.field(c.field); f != c.want {
				t.Errorf("%s: got %s, want %s\n%s", c.field, f, c.want, got.body)
			}
			after := a.want(200, "GET", webPath, "")
			if c.code != 200 && string(after.body) != string(before.body) {
				t.Errorf("a refused patch changed the object: %s", after.body)
			}
			if c.code == 200 && string(after.body) != string(got.body) {
				t.Errorf("got %s, want the answer of the patch: %s", after.body, got.body)
			}
		})
	}
}

// In YAML, a patch or options that are small can stand for something of any size.
func TestWrite_noAliases(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(201, "POST", deploymentsPath, deployment("web", 2, "web:1"))
	bomb := fmt.Sprintf("spec: {replicas: 3}\na: &x %q\nb: [%s]\n", strings.Repeat("x", 1<<10), strings.Repeat("*x,", 1<<10))
	for _, as := range []string{asStrategic, asMerge, asJSONPatch} {
		a.want(400, "PATCH", webPath, bomb, as)
		a.want(400, "PATCH", webPath+"/scale", bomb, as)
	}
	a.want(400, "PUT", webPath+"/scale", bomb)
	a.want(400, "DELETE", webPath, bomb)
	a.want(400, "DELETE", deploymentsPath, bomb)
	a.want(400, "POST", deploymentsPath+"?fieldValidation=Ignore", strings.Replace(bomb, "[", "["+strings.Repeat("*x,", 4<<10), 1)+deployment("x", 1, "w"))
	if a.index() != 1 {
		t.Error("something was changed")
	}
}

func TestPatch_unknownFieldsIgnored(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(201, "POST", deploymentsPath, deployment("web", 2, "web:1"))
	got := a.want(200, "PATCH", webPath+"?fieldValidation=Warn", `{"spec":{"replica":1,"replicas":3}}`, asMerge)
	if w := got.header.Values("Warning"); len(w) != 1 || !strings.Contains(w[0], "spec.replica") || got.field("spec.replicas") != "3" {
		t.Errorf("got %q, %s", w, got.body)
	}
}

// The cases of RFC 6902's appendix A, and some that it leaves out.
func TestJSONPatch(t *testing.T) {
	for _, c := range []struct{ name, doc, patch, want string }{
		{"A.1 add a member", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux"}]`, `{"baz":"qux","foo":"bar"}`},
		{"A.2 add an element", `{"foo":["bar","baz"]}`, `[{"op":"add","path":"/foo/1","value":"qux"}]`, `{"foo":["bar","qux","baz"]}`},
		{"A.3 remove a member", `{"baz":"qux","foo":"bar"}`, `[{"op":"remove","path":"/baz"}]`, `{"foo":"bar"}`},
		{"A.4 remove an element", `{"foo":["bar","qux","baz"]}`, `[{"op":"remove","path":"/foo/1"}]`, `{"foo":["bar","baz"]}`},
		{"A.5 replace", `{"baz":"qux","foo":"bar"}`, `[{"op":"replace","path":"/baz","value":"boo"}]`, `{"baz":"boo","foo":"bar"}`},
		{"A.6 move a value", `{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}`,
			`[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]`, `{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}`},
		{"A.7 move an element", `{"foo":["all","grass","cows","eat"]}`, `[{"op":"move","from":"/foo/1","path":"/foo/3"}]`, `{"foo":["all","cows","eat","grass"]}`},
		{"A.8 test", `{"baz":"qux","foo":["a",2,"c"]}`, `[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2.0}]`, `{"baz":"qux","foo":["a",2,"c"]}`},
		{"A.9 test fails", `{"baz":"qux"}`, `[{"op":"test","path":"/baz","value":"bar"}]`, "another"},
		{"A.10 add an object", `{"foo":"bar"}`, `[{"op":"add","path":"/child","value":{"grandchild":{}}}]`, `{"child":{"grandchild":{}},"foo":"bar"}`},
		{"A.11 unknown members", `{"foo":"bar"}`, `[{"op":"add","path":"/baz","value":"qux","xyz":123}]`, `{"baz":"qux","foo":"bar"}`},
		{"A.12 add to nowhere", `{"foo":"bar"}`, `[{"op":"add","path":"/baz/bat","value":"qux"}]`, "no such value"},
		{"A.14 escapes", `{"/":9,"~1":10}`, `[{"op":"test","path":"/~01","value":10},{"op":"remove","path":"/~1"}]`, `{"~1":10}`},
		{"A.15 text is no number", `{"~1":10}`, `[{"op":"test","path":"/~01","value":"10"}]`, "another"},
		{"A.16 add to the end", `{"foo":["bar"]}`, `[{"op":"add","path":"/foo/-","value":["abc","def"]}]`, `{"foo":["bar",["abc","def"]]}`},
		{"null is a value", `{"foo":1}`, `[{"op":"add","path":"/foo","value":null},{"op":"test","path":"/foo","value":null}]`, `{"foo":null}`},
		{"copy is a copy", `{"a":{"b":1}}`, `[{"op":"copy","from":"/a","path":"/c"},{"op":"replace","path":"/c/b","value":2}]`, `{"a":{"b":1},"c":{"b":2}}`},
		{"the whole document", `{"a":1}`, `[{"op":"replace","path":"","value":{"b":2}}]`, `{"b":2}`},
		{"into itself", `{"a":{"b":{}}}`, `[{"op":"move","from":"/a","path":"/a/b/c"}]`, "into itself"},
		{"replace nothing", `{"a":1}`, `[{"op":"replace","path":"/b","value":1}]`, "no such value"},
		{"replace in nothing", `{"a":[]}`, `[{"op":"replace","path":"/a/0","value":1}]`, "no item"},
		{"beyond the end", `{"a":[1]}`, `[{"op":"add","path":"/a/2","value":1}]`, "no item"},
		{"leading zero", `{"a":[1,2]}`, `[{"op":"remove","path":"/a/01"}]`, "no item"},
		{"negative", `{"a":[1,2]}`, `[{"op":"remove","path":"/a/-1"}]`, "no item"},
		{"through a text", `{"a":"x"}`, `[{"op":"remove","path":"/a/b/c"}]`, "no such value"},
		{"within null", `{"a":null}`, `[{"op":"add","path":"/a/","value":1}]`, "no such value"},
		{"no slash", `{"a":1}`, `[{"op":"remove","path":"a"}]`, "begins with /"},
		{"remove the document", `{"a":1}`, `[{"op":"remove","path":""}]`, "no such value"},
		{"no op", `{}`, `[{"op":"frob","path":"/a"}]`, "no operation"},
		{"no path", `{}`, `[{"op":"remove"}]`, "no path"},
		{"no value", `{}`, `[{"op":"add","path":"/a"}]`, "no value"},
		{"no from", `{}`, `[{"op":"copy","path":"/a"}]`, "no from"},
		{"large numbers stay", `{"a":12345678901234567890}`, `[{"op":"copy","from":"/a","path":"/b"}]`, `{"a":12345678901234567890,"b":12345678901234567890}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := parseJSONPatch([]byte(c.patch))
			var got []byte
			if err == nil {
				got, err = p.apply([]byte(c.doc))
			}
			if err != nil {
				got = []byte(err.Error())
			}
			if err == nil != strings.HasPrefix(c.want, "{") || !strings.Contains(string(got), c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// Copying what was copied doubles it every time.
func TestJSONPatch_doesNotGrowWithoutBound(t *testing.T) {
	var ops []string
	for i := range 100 {
		ops = append(ops, fmt.Sprintf(`{"op":"copy","from":"/a","path":"/a/%d"}`, i))
	}
	p, err := parseJSONPatch([]byte("[" + strings.Join(ops, ",") + "]"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.apply([]byte(`{"a":{"x":"some text"}}`)); err == nil || !strings.Contains(err.Error(), "grows") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestMergePatch(t *testing.T) { // the cases of RFC 7386's appendix A
	for _, c := range []struct{ doc, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"a":1,"e":null}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`[1,2]`, `{"a":"b","c":null}`, `{"a":"b"}`},
	} {
		doc, err1 := decodeAny([]byte(c.doc))
		patch, err2 := decodeAny([]byte(c.patch))
		got, err3 := json.Marshal(mergePatch(doc, patch))
		if err1 != nil || err2 != nil || err3 != nil || string(got) != c.want {
			t.Errorf("%s with %s: got %s, want %s", c.doc, c.patch, got, c.want)
		}
	}
}

func TestScale(t *testing.T) {
	a := start(t, t.TempDir())
	a.want(201, "POST", deploymentsPath, deployment("web", 2, "web:1"))
	got := a.want(200, "GET", webPath+"/scale", "")
	if got.field("kind") != "Scale" || got.field("apiVersion") != "autoscaling/v1" || got.field("spec.replicas") != "2" || got.field("status.selector") != "app=web" {
		t.Errorf("got %s", got.body)
	}
	stale := string(got.body)
	for _, c := range []struct {
		method, body, as string
		code             int
		want             string
	}{
		{"PUT", strings.Replace(stale, `"replicas":2`, `"replicas":5`, 1), "", 200, "5"},
		{"PUT", strings.Replace(stale, `"replicas":2`, `"replicas":6`, 1), "", 409, "5"},
		{"PATCH", `[{"op":"replace","path":"/spec/replicas","value":4}]`, asJSONPatch, 200, "4"},
		{"PATCH", `{"spec":{"replicas":0}}`, asMerge, 200, "0"},
		{"PATCH", `{"spec":{"replicas":3}}`, asStrategic, 200, "3"},
		{"PATCH", `{"spec":{"replicas":-1}}`, asMerge, 422, "3"},
		{"PATCH", `{"spec":{"replicas":"4"}}`, asMerge, 400, "3"},
		{"PATCH", `{"metadata":{"name":"other"},"spec":{"replicas":4}}`, asMerge, 400, "3"},
		{"PUT", `{"metadata":{"name":"other"},"spec":{"replicas":4}}`, "", 400, "3"},
		{"PUT", `{"metadata":{"namespace":"other"},"spec":{"replicas":4}}`, "", 400, "3"},
		{"PUT", `{"metadata":{"uid":"other"},"spec":{"replicas":4}}`, "", 409, "3"},
		{"PUT", `{"spec":{"replica":1}}`, "", 400, "3"},
		{"DELETE", ``, "", 405, "3"},
	} {
		headers := []string{}
		if c.as != "" {
			headers = append(headers, c.as)
		}
		a.want(c.code, c.method, webPath+"/scale", c.body, headers...)
		if got := a.want(200, "GET", webPath, "").field("spec.replicas"); got != c.want {
			t.Errorf("after %s %s: got %s replicas, want %s", c.method, c.body, got, c.want)
		}
	}
	a.want(404, "GET", deploymentsPath+"/none/scale", "")
	a.want(404, "GET", "/api/v1/namespaces/default/services/web/scale", "")
}
