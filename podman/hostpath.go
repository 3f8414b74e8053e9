package podman

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// prepareHostPaths checks what the hostPath volumes ask of the paths on this host, and makes what they ask to be made.
// It looks at the file system as this process sees it, which must be as Podman does.
func (p *pod) prepareHostPaths() error {
	var errs []error
	for _, v := range p.spec.Volumes {
		if h := v.HostPath; h != nil {
			typ := corev1.HostPathUnset
			if h.Type != nil {
				typ = *h.Type
			}
			if err := prepareHostPath(h.Path, typ); err != nil {
				errs = append(errs, fmt.Errorf("hostPath volume %q: %w", v.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

func prepareHostPath(path string, typ corev1.HostPathType) error {
	info, err := os.Stat(path)
	there := err == nil
	switch typ {
	case corev1.HostPathUnset:
		if errors.Is(err, fs.ErrNotExist) {
			return os.MkdirAll(path, 0o755) // as container runtimes do
		}
		return err
	case corev1.HostPathDirectoryOrCreate:
		if errors.Is(err, fs.ErrNotExist) {
			return os.MkdirAll(path, 0o755)
		}
		return wrong(path, err, there && info.IsDir(), "a directory")
	case corev1.HostPathFileOrCreate:
		if errors.Is(err, fs.ErrNotExist) {
			f, err := os.OpenFile(filepath.Clean(path), os.O_CREATE|os.O_RDONLY, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
		return wrong(path, err, there && info.Mode().IsRegular(), "a file")
	case corev1.HostPathDirectory:
		return wrong(path, err, there && info.IsDir(), "a directory")
	case corev1.HostPathFile:
		return wrong(path, err, there && info.Mode().IsRegular(), "a file")
	case corev1.HostPathSocket:
		return wrong(path, err, there && info.Mode()&fs.ModeSocket != 0, "a socket")
	}
	return fmt.Errorf("type %q is not supported", typ)
}

func wrong(path string, err error, right bool, want string) error {
	if err == nil && !right {
		return fmt.Errorf("%s is not %s", path, want)
	}
	return err
}

// hostPath is what is mounted of a folder of the host.
func hostPath(path, sub string) string {
	if sub == "" {
		return path
	}
	return filepath.Join(path, sub)
}

// prepareSubPath makes the folder that is mounted of a hostPath volume, if there is nothing of that name, as in Kubernetes, and checks that it is
// not elsewhere on the host: a link in the volume that leads out of it is no way there.
func prepareSubPath(volume, sub string) error {
	root, err := os.OpenRoot(volume)
	if err != nil {
		return err
	}
	defer root.Close()
	_, err = root.Stat(sub)
	if errors.Is(err, fs.ErrNotExist) {
		err = root.MkdirAll(sub, 0o755)
	}
	return err
}
