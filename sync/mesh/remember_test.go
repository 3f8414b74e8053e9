package mesh

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRemember_keepsAndForgets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "peers.json")
	text := &lines{}
	log := slog.New(slog.NewTextHandler(text, nil))
	a := remembered(path, log)
	for _, p := range [][2]string{{"b", "10.0.0.2:6222"}, {"c", "10.0.0.3:6222"}, {"b", "10.0.0.4:6222"}} {
		if err := a.learn(p[0], p[1]); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"10.0.0.3:6222", "10.0.0.4:6222"}
	if got := remembered(path, log).dial(nil, ""); !slices.Equal(got, want) {
		t.Errorf("got %v after a restart, want %v", got, want)
	}
	if got := a.dial([]string{"x:1", "10.0.0.4:6222"}, "10.0.0.3:6222"); !slices.Equal(got, []string{"x:1", "10.0.0.4:6222"}) {
		t.Errorf("got %v, want what was wanted, each once, and not our own", got)
	}
	if addr, others, err := a.forget("b"); err != nil || addr != "10.0.0.4:6222" || others {
		t.Errorf("forgot %q, others %v, %v", addr, others, err)
	}
	if got := remembered(path, log).dial(nil, ""); !slices.Equal(got, want[:1]) {
		t.Errorf("got %v, want what was not forgotten", got)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left beside the file: %v, %v", left, err)
	}
	if text.String() != "" {
		t.Errorf("logged %s", text)
	}
}

// A file that is damaged costs the addresses, says so, and is written anew.
func TestRemember_damagedFile(t *testing.T) {
	for name, content := range map[string]string{"torn": `{"b": "10.0`, "empty": "", "ofAnotherShape": "[1]"} {
		path := filepath.Join(t.TempDir(), "peers.json")
		if err := os.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		text := &lines{}
		a := remembered(path, slog.New(slog.NewTextHandler(text, nil)))
		if !text.has("forgotten") || len(a.dial(nil, "")) > 0 {
			t.Errorf("%s: dials %v, logged %q", name, a.dial(nil, ""), text)
		}
		if err := a.learn("b", "10.0.0.2:6222"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if data, err := os.ReadFile(path); err != nil || !strings.Contains(string(data), "10.0.0.2:6222") {
			t.Errorf("%s: file is %q, %v", name, data, err)
		}
	}
}

// What cannot be written is not claimed to be remembered, so that the next word of the same host tries again.
func TestRemember_diskThatFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	a := remembered(filepath.Join(dir, "peers.json"), slog.New(slog.DiscardHandler))
	if err := a.learn("b", "10.0.0.2:6222"); err == nil {
		t.Error("remembered in a folder that is not there")
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := a.learn("b", "10.0.0.2:6222"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(a.path); err != nil {
		t.Error(err)
	}
}

// Whom a route leads to is surer than who was last heard to be there.
func TestPassedOn(t *testing.T) {
	const addr = "10.0.0.2:6222"
	for _, c := range []struct {
		what         string
		routes       []Route
		alone, heard bool // without, and with, another that was last heard to be there
	}{
		{"nobody is connected", nil, false, true},
		{"it is there", []Route{{Node: "b", Addr: addr, Dialed: true}}, false, false},
		{"another is there", []Route{{Node: "c", Addr: addr, Dialed: true}}, true, true},
		{"it was dialled by a name", []Route{{Node: "b", Addr: "10.0.0.9:6222", Dialed: true}}, false, false},
		{"it has dialled us", []Route{{Node: "b", Addr: addr}}, false, true},
		{"another is elsewhere", []Route{{Node: "c", Addr: "10.0.0.9:6222", Dialed: true}}, false, true},
	} {
		if alone, heard := passedOn(addr, "b", false, c.routes), passedOn(addr, "b", true, c.routes); alone != c.alone || heard != c.heard {
			t.Errorf("%s: got %v, and %v with another, want %v, %v", c.what, alone, heard, c.alone, c.heard)
		}
	}
}
