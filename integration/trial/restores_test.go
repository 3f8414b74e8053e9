package trial

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"testing"
)

// A backup's name on a file that is empty, as a rename without an fsync leaves one after a power cut, is found; the copy of a file of version 1, which an agent
// tells of as that, is not taken for damaged.
func TestRestores_whole(t *testing.T) {
	answers := map[string]map[string]any{
		"empty":  {"damage": "empty: not a backup: it does not begin as one"},
		"old":    {"original": map[string]int{"objects": 60}},
		"first":  {"about": map[string]int{"index": 1}},
		"second": {"about": map[string]int{"index": 2}},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		var answer any = []map[string]string{{"name": "empty"}, {"name": "old"}}
		if strings.HasSuffix(q.URL.Path, "/verify") {
			answer = answers[path.Base(path.Dir(q.URL.Path))]
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	r := &Restores{backups: [2]string{"first", "second"}}
	report, err := r.whole(t.Context(), server.URL, true)
	if err != nil || len(report.Wrong) != 1 || !strings.HasPrefix(report.Wrong[0], "backup empty: ") {
		t.Errorf("got %q, %v; want that the empty one is wrong, and no other", report.Wrong, err)
	}
}
