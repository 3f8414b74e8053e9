package trial

import "testing"

func TestSituations(t *testing.T) {
	s := Situations{{"a backup", 3}, {"a prune", 0}, {"a trim", 0}}
	if got, want := s.String(), "a backup 3, a prune 0, a trim 0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	const want = "nothing that was looked at was in the middle of a prune, nor of a trim: of that this run shows nothing"
	if err := s.Missed(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
	if err := s[:1].Missed(); err != nil {
		t.Errorf("got %v", err)
	}
}
