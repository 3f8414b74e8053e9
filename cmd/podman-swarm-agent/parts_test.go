package main

import (
	"strings"
	"testing"
)

// What runs beside the replicas is one problem, with all names and the command that ends it; nothing is none.
func TestBeside_oneProblem(t *testing.T) {
	if all := beside(nil); all != nil {
		t.Errorf("of nothing: %+v", all)
	}
	all := beside([]string{"web-0", "web-1"})
	if len(all) != 1 || !strings.Contains(all[0].What, "web-0, web-1") || !strings.Contains(all[0].Do, "podman stop web-0 web-1,") || all[0].Why == "" {
		t.Errorf("got %+v", all)
	}
}
