package events

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A folder whose name cannot be made durable does not stay: the next try would take it for durable.
func TestMakeDir(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := MakeDir(deep); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(deep); err != nil || !info.IsDir() {
		t.Errorf("got %v, %v", info, err)
	}
	if os.Geteuid() == 0 {
		t.Skip("to root every folder opens")
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o300); err != nil { // one may make folders in it, and not open it to sync it
		t.Fatal(err)
	}
	if err := MakeDir(filepath.Join(closed, "x")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(closed, "x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it stays: %v", err)
	}
}
