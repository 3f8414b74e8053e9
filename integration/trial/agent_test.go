package trial

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestFreeAddr: an address that was given is nobody else's, be it another process's, before anybody listens there. Two
// processes ask for so many that without claims some are given twice, as sure as anything.
func TestFreeAddr(t *testing.T) {
	const many = 500
	if os.Getenv("FREE_ADDR_TEST") != "" {
		for range many {
			addr, err := FreeAddr()
			if err != nil {
				t.Fatal(err)
			}
			t.Log("addr", addr)
		}
		return
	}
	var all []string
	for range many {
		addr, err := FreeAddr()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, addr)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFreeAddr$", "-test.v")
	cmd.Env = append(os.Environ(), "FREE_ADDR_TEST=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if _, addr, ok := strings.Cut(line, "addr "); ok {
			all = append(all, strings.TrimSpace(addr))
		}
	}
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); len(all) != 2*many || n != len(all) {
		t.Errorf("%d addresses were given, want %d; %d of them once", len(all), 2*many, n)
	}
}
