package manifest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// bombs are small manifests that become large, or deep, or slow.
func bombs() map[string]string {
	var lol strings.Builder
	lol.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := range 12 {
		fmt.Fprintf(&lol, "a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i), 10), ", "))
	}
	var chain strings.Builder
	chain.WriteString("a0: &a0 [x]\n")
	for i := range 2000 {
		fmt.Fprintf(&chain, "a%d: &a%d [*a%d]\n", i+1, i+1, i)
	}
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  annotations:\n    x: &x \"" +
		strings.Repeat("x", 100_000) + "\"\n"
	for i := range 200 {
		namespace += fmt.Sprintf("    x%d: *x\n", i)
	}
	return map[string]string{
		"aliases of aliases":       lol.String(),
		"aliases of a long string": namespace,
		"a chain of aliases":       chain.String(),
		"itself":                   "a: &a {b: *a}\n",
		"deep flow":                strings.Repeat("[", 300_000),
		"deep flow objects":        strings.Repeat("{a: ", 300_000),
		"deep JSON":                strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200),
		"very deep JSON":           strings.Repeat(`{"a":`, 300_000),
		"deep blocks":              strings.Repeat("- ", 300_000) + "a",
		"deep by columns":          columns(1000),
		"many values":              "[" + strings.Repeat("[],", 500_000) + "]",
		"a long line":              strings.Repeat("a", MaxBytes-10),
		"too large":                strings.Repeat("#\n", MaxBytes),
		"many documents":           strings.Repeat("a\n---\n", 20_000),
		"many keys":                strings.Repeat("? ", 300_000),
		"many items":               "apiVersion: v1\nkind: List\nitems: [" + strings.Repeat("{},", 100_000) + "]",
		"merge of merges":          "a: &a {b: c}\n" + strings.Repeat("<<: *a\n", 10_000),
		"merges of many fields":    "a: &a {" + numbered(50_000) + "}\nb:\n" + strings.Repeat(" <<: *a\n", 60_000),
		"a list of merges":         "a: &a {" + numbered(50_000) + "}\n<<: [" + strings.Repeat("*a,", 100_000) + "]\n",
		"wrong types":              strings.Replace(deployment("\n"), `"nginx:1"`, "a, env: ["+strings.Repeat("{name: 1, value: 2},", 20_000)+"]", 1),
	}
}

// numbered is n fields of a flow mapping.
func numbered(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "k%d,", i)
	}
	return b.String()
}

func columns(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestParse_bombs(t *testing.T) {
	for name, text := range bombs() {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			items, err := Parse([]byte(text), "")
			if err == nil {
				t.Errorf("got %d objects, want a mistake", len(items))
			}
			first, _, _ := strings.Cut(err.Error(), "\n")
			t.Logf("%d bytes, %v: %.150s", len(text), time.Since(begin).Round(time.Millisecond), first)
		})
	}
}

// What is large and honest passes.
func TestParse_large(t *testing.T) {
	const n = 1000
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Replace(deployment("\n---"), "name: web}", fmt.Sprintf("name: web-%d}", i), 1))
	}
	begin := time.Now()
	items, err := Parse([]byte(b.String()), "")
	if err != nil || len(items) != n {
		t.Fatalf("%d objects, %.300v", len(items), err)
	}
	t.Logf("%d objects in %v", n, time.Since(begin).Round(time.Millisecond))
	big := "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n  annotations:\n    x: "
	if _, err := Parse([]byte(big+strings.Repeat("x", 200_000)), ""); err != nil {
		t.Errorf("an annotation of 200 kB: %.300v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, folder := range []string{"testdata/good", "testdata/bad", "../../snapshot/testdata/version1"} {
		for _, data := range manifests(f, folder) {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		items, err := Parse(data, "")
		if err != nil {
			if ms, ok := err.(Mistakes); !ok || len(ms) == 0 || len(items) > 0 {
				t.Fatalf("%d objects and %T %v", len(items), err, err)
			}
			err.(Mistakes).Status()
			return
		}
		for _, it := range items {
			raw, err := Encode(it.Object)
			if err != nil {
				t.Fatal(err)
			}
			typ, _, _ := SplitKey(it.Key)
			o, err := Decode(typ, raw)
			if err != nil {
				t.Fatalf("decode %s: %v", raw, err)
			}
			again, err := Encode(o)
			if err != nil || string(again) != string(raw) {
				t.Fatalf("encoded, decoded and encoded: %v\n%s\n%s", err, raw, again)
			}
			if !Same(o, it.Object) {
				t.Fatalf("not the same as itself: %s", raw)
			}
			back, err := Parse(raw, "")
			if err != nil || len(back) != 1 || encoded(t, back[0].Object) != string(raw) {
				t.Fatalf("what was recorded, applied: %v\n%s", err, raw)
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	data := manifests(b, "testdata/good")["testdata/good/web.yaml"]
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(data, ""); err != nil {
			b.Fatal(err)
		}
	}
}
