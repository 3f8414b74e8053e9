package snapshot

import (
	"bytes"
	"log/slog"
	"regexp"
	"slices"
	"testing"
)

// At level debug each backup, increment, prune and trim is said to begin and to end, and a prune or a trim only where something goes: by that a trial knows what it
// has killed an agent in.
func TestDebug_underWay(t *testing.T) {
	h := openWith(t, t.TempDir(), shortSegments())
	var said bytes.Buffer
	tr := h.trimmer(t)
	p := tr.Increments
	tr.Log = slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	p.Log, p.Backups.Log, p.Backups.Keep = tr.Log, tr.Log, Keep{Last: 1}
	h.changes(t, 40)
	tr.ready(t)
	for range 2 {
		if _, err := p.Backups.Prune(false); err != nil { // there is one, and it stays
			t.Fatal(err)
		}
	}
	if _, err := p.Backups.Create(t.Context(), "", false); err != nil {
		t.Fatal(err)
	}
	p.Backups.hold(verified, "")
	if _, err := p.Backups.Prune(false); err != nil {
		t.Fatal(err)
	}
	tr.ready(t)
	for range 2 { // the second finds nothing to trim
		tr.turn(t)
	}
	var got []string
	for _, m := range regexp.MustCompile(`level=DEBUG msg="([^"]+)"`).FindAllStringSubmatch(said.String(), -1) {
		got = append(got, m[1])
	}
	want := []string{
		"writing an increment", "done with the increment", "making a backup", "done with the backup",
		"making a backup", "done with the backup", "removing old backups", "done with the old backups",
		"making a backup", "done with the backup", "trimming the log", "done with the trim",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
