package podmanhost

import (
	"context"
	"os"
	"testing"
)

// Start opens a host for one test and closes it at the test's end. If the test has failed by then, the service's log
// goes to the test's. Hosts of tests that run at the same time do not meet, but each costs about a second.
func Start(t testing.TB) *Host {
	t.Helper()
	// Not t.TempDir(): with a long test name the path of the socket would be longer than the 107 bytes of a unix socket.
	dir, err := os.MkdirTemp("", "podmanhost-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Errorf("remove the Podman host's folder: %v", err)
		}
	})
	h, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the Podman service of this test wrote:\n%s", h.logTail())
		}
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}
