package main

import (
	"strings"
	"testing"
)

// What runs beside the replicas is one problem, with all names and the command that ends it; nothing is none.
func TestBeside_oneProblem(t *testing.T) {
	if all := beside(nil, nil); all != nil {
		t.Errorf("of nothing: %+v", all)
	}
	all := beside([]string{"web-0", "web-1"}, nil)
	if len(all) != 1 || !strings.Contains(all[0].What, "web-0, web-1") || !strings.Contains(all[0].Do, "podman stop web-0 web-1,") || all[0].Why == "" {
		t.Errorf("got %+v", all)
	}
}

// What runs where the Deployment was refused is all that serves: nobody is told to stop it, nor promised a replica.
func TestBeside_nothingInTheirPlace(t *testing.T) {
	all := beside([]string{"web-0"}, []string{"half-0"})
	if len(all) != 2 || !strings.HasSuffix(all[1].What, ": half-0") || !strings.Contains(all[1].Why, "there are no new replicas") || strings.Contains(all[1].Do, "podman stop") ||
		strings.Contains(all[0].Do, "half") {
		t.Errorf("got %+v", all)
	}
}
