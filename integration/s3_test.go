package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/trial"
	"github.com/podman-swarm/podman-swarm/snapshot"
	"github.com/podman-swarm/podman-swarm/snapshot/bucket"
)

// buildS3 builds the S3 server (see s3server/go.mod) into the folder of what the tests share: minutes on a machine that never has.
var buildS3 = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-C", "s3server", "-o", filepath.Join(built.dir, "s3server"), "github.com/versity/versitygw/cmd/versitygw")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the S3 server: %w\n%s", err, out)
	}
	return nil
})

// s3 starts an S3 server with two buckets, backups and more, and gives its address. What the variable S3_SERVER names, if it is set, is the binary.
func s3(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("S3_SERVER")
	if bin == "" {
		bin = filepath.Join(built.folder(t), "s3server")
		must(t, buildS3())
	}
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "backups"), 0o750))
	must(t, os.Mkdir(filepath.Join(dir, "more"), 0o750))
	addr, err := trial.FreeAddr()
	must(t, err)
	cmd := exec.Command(bin, "--port", addr, "--access", "test-key", "--secret", "test-secret", "posix", dir)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil && t.Failed() {
			t.Logf("the S3 server: %v\n%s", err, &said)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return "http://" + addr
		}
		if time.Now().After(deadline) {
			t.Fatalf("the S3 server does not answer: %v\n%s", err, &said)
		}
	}
}

// What a folder does, a real S3 server does as well.
func TestStore_folderAndBucket(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "test-key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
	at := s3(t)
	whole, err := bucket.Open("s3://backups?endpoint=" + at + "&region=us-east-1")
	must(t, err)
	below, err := bucket.Open("s3://more/host/a?endpoint=" + at + "&region=us-east-1")
	must(t, err)
	for name, store := range map[string]snapshot.Store{"folder": snapshot.FolderStore(t.TempDir()), "bucket": whole, "prefix": below} {
		t.Run(name, func(t *testing.T) { conforms(t, store) })
	}
	none, err := bucket.Open("s3://none?endpoint=" + at + "&region=us-east-1")
	must(t, err)
	if err := none.Put(t.Context(), "x", []byte("x")); err == nil || !strings.Contains(err.Error(), "there is no bucket none") {
		t.Errorf("no such bucket: got %v", err)
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
	wrong, err := bucket.Open("s3://backups?endpoint=" + at + "&region=us-east-1")
	must(t, err)
	if _, err := wrong.Sizes(t.Context()); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("with another secret: got %v", err)
	}
}

func conforms(t *testing.T, s snapshot.Store) {
	if all, err := s.Sizes(t.Context()); err != nil || len(all) != 0 {
		t.Fatalf("at first: %v, %v", all, err)
	}
	if _, err := s.Get(t.Context(), "a/b/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // in several parts, where that is done
	for _, c := range []struct {
		name string
		data []byte
	}{{"one.json", []byte("first")}, {"one.json", []byte("another, longer")}, {"increments/log-1/a.zst", []byte("x")}, {"empty", nil}, {"large", large}} {
		if err := s.Put(t.Context(), c.name, c.data); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got, err := s.Get(t.Context(), c.name); err != nil || !bytes.Equal(got, c.data) {
			t.Fatalf("%s: got %d bytes, %v; want %d", c.name, len(got), err, len(c.data))
		}
	}
	all, err := s.Sizes(t.Context())
	want := map[string]int64{"one.json": 15, "increments/log-1/a.zst": 1, "empty": 0, "large": int64(len(large))}
	if err != nil || fmt.Sprint(all) != fmt.Sprint(want) {
		t.Errorf("got %v, %v; want %v", all, err, want)
	}
}
