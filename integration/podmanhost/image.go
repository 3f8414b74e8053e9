package podmanhost

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// The images that every host holds: integration/testimage, a small web server. The two differ in the environment
// variable VERSION, which the server says, and in the label version. ENTRYPOINT is /web, so a container's args are
// the server's flags.
const (
	Image1 = "localhost/podman-swarm-web:1"
	Image2 = "localhost/podman-swarm-web:2"
)

// BuildImage makes the test image's root file system on the spot, since no registry may be in reach. dir is for the
// files that this takes.
func BuildImage(ctx context.Context, dir string) ([]byte, error) {
	web := filepath.Join(dir, "web")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", web,
		"github.com/podman-swarm/podman-swarm/integration/testimage")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the test image's program: %w\n%s", err, out)
	}
	program, err := os.ReadFile(web)
	if err != nil {
		return nil, fmt.Errorf("read the test image's program: %w", err)
	}
	rootfs, err := archive(program)
	if err != nil {
		return nil, fmt.Errorf("pack the test image: %w", err)
	}
	return rootfs, nil
}

// importImages gives the host its images.
func (h *Host) importImages(ctx context.Context) error {
	rootfs := h.image
	if rootfs == nil {
		var err error
		if rootfs, err = BuildImage(ctx, h.dir); err != nil {
			return err
		}
	}
	for version, name := range []string{1: Image1, 2: Image2} {
		if name == "" {
			continue
		}
		_, err := h.podman(ctx, rootfs, "import", "--quiet",
			"--change", `ENTRYPOINT ["/web"]`,
			"--change", "EXPOSE 80",
			"--change", fmt.Sprintf("ENV VERSION=%d", version),
			"--change", fmt.Sprintf("LABEL version=%d", version),
			"-", name)
		if err != nil {
			return err
		}
	}
	return nil
}

// archive packs a root file system that holds the program as /web, and a /tmp.
func archive(program []byte) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return nil, err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "web", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
