package trial

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What is under way is what has begun and not ended in this life, however the output is cut where it is read.
func TestWatch(t *testing.T) {
	a := &Agent{Output: filepath.Join(t.TempDir(), "agent.log")}
	text := ""
	line := func(ms int, msg string) {
		text += fmt.Sprintf(`{"time":"2026-01-21T12:00:00.%03dZ","level":"DEBUG","msg":"%s","part":"backup"}`+"\n", ms, msg)
	}
	line(1, "trimming the log") // in the life before
	if err := os.WriteFile(a.Output, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := a.Watch()
	if err != nil {
		t.Fatal(err)
	}
	start := len(text)
	text += "panic: no line of the log\n"
	line(10, "restoring")
	line(11, "making a backup")
	line(14, "done with the backup")
	line(15, "removing old backups")
	line(20, "done with the trim") // that did not begin
	before := len(text)
	line(21, "restored")
	for at := start; at <= before; at++ {
		if err := os.WriteFile(a.Output, []byte(text[:at]), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := w.Read(); err != nil {
			t.Fatal(err)
		}
	}
	for d, want := range map[Doing]bool{Restoring: true, BackingUp: false, Incrementing: false, Pruning: true, Trimming: false} {
		if got := w.UnderWay(d); got != want {
			t.Errorf("%v: under way is %v, want %v", d, got, want)
		}
	}
	if len(w.All) != 3 || w.All[1].Ended.Sub(w.All[1].Begun) != 3*time.Millisecond || !w.All[2].Ended.IsZero() {
		t.Errorf("got %+v", w.All)
	}
	if a, b := w.Took(BackingUp, time.Hour), w.Took(Pruning, time.Hour); a != 3*time.Millisecond || b != time.Hour {
		t.Errorf("they took %v and %v", a, b)
	}
	if err := os.WriteFile(a.Output, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Read(); err != nil || w.UnderWay(Restoring) {
		t.Errorf("the restore has not ended, %v", err)
	}
}
