package manifest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with the file, or writes it with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew)\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

// manifests are the files of a folder.
func manifests(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	yaml, err1 := filepath.Glob(folder + "/*.yaml")
	json, err2 := filepath.Glob(folder + "/*.json")
	files := append(yaml, json...)
	if len(files) == 0 {
		t.Fatalf("%s: no files: %v, %v", folder, err1, err2)
	}
	m := map[string][]byte{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m[f] = data
	}
	return m
}

func TestParse_good(t *testing.T) {
	for file, data := range manifests(t, "testdata/good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			items, err := Parse(data, "")
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			for _, it := range items {
				raw, err := Encode(it.Object)
				if err != nil {
					t.Fatal(err)
				}
				got.WriteString(it.Key + "\n" + string(raw) + "\n")
			}
			golden(t, file+".txt", got.String())
		})
	}
}

// Lines 25 and 26 of what went wrong before: every mistake of every document is reported, with its line, and nothing
// of the manifest is taken.
func TestParse_bad(t *testing.T) {
	for file, data := range manifests(t, "testdata/bad") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			items, err := Parse(data, "default")
			if items != nil {
				t.Errorf("got %d items of a bad manifest, want none", len(items))
			}
			ms, ok := err.(Mistakes)
			if !ok {
				t.Fatalf("got %T %v, want Mistakes", err, err)
			}
			lines := bytes.Count(data, []byte("\n"))
			for _, m := range ms {
				if m.Line > lines {
					t.Errorf("line %d of a file of %d: %v", m.Line, lines, m)
				}
			}
			golden(t, file+".txt", strings.TrimSpace(err.Error())+"\n")
		})
	}
}
