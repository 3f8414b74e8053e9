package podmanhost

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// podmanCommand is how podman is called on this host, up to its sub-command.
func (h *Host) podmanCommand() []string {
	return []string{
		"podman",
		"--root", filepath.Join(h.dir, "storage"),
		"--runroot", "/run/containers",
		"--tmpdir", "/run/libpod",
		"--network-config-dir", filepath.Join(h.dir, "networks"),
		"--storage-driver", storageDriver(h.dir),
	}
}

// env is this process's environment without what points Podman elsewhere, and with the host's own configuration.
func (h *Host) env() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "CONTAINER") && !strings.HasPrefix(name, "STORAGE_") && name != "NOTIFY_SOCKET" {
			env = append(env, v)
		}
	}
	return append(env, "CONTAINERS_CONF="+filepath.Join(h.dir, "containers.conf"), "PODMAN_IGNORE_CGROUPSV1_WARNING=1")
}

// Config is a containers.conf with which Podman runs containers where this process does. Its last table is that of the network.
func Config() (string, error) {
	ulimits, err := ulimits()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`# of one private Podman host; gone with it
[containers]
# Podman asks for more than a root without CAP_SYS_RESOURCE may have, and then no container starts.
default_ulimits = [%s]
log_driver = "k8s-file"
[engine]
runtime = %q
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
firewall_driver = "iptables" # what subnet.clear can undo
`, ulimits, runtime()), nil
}

// writeConfig writes the host's containers.conf and its one network. With CONTAINERS_CONF set Podman reads no other.
func (h *Host) writeConfig() error {
	conf, err := Config()
	if err != nil {
		return err
	}
	conf += fmt.Sprintf("default_network = %q\ndefault_subnet = %q\n", h.subnet.name, h.subnet.cidr())
	if err := os.WriteFile(filepath.Join(h.dir, "containers.conf"), []byte(conf), 0o640); err != nil {
		return err
	}

	dir := filepath.Join(h.dir, "networks")
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	network, err := json.Marshal(h.subnet.config())
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, h.subnet.name+".json"), network, 0o640)
}

// ulimits gives containers the limits of this process, which are always allowed.
func ulimits() (string, error) {
	const nproc = 6 // RLIMIT_NPROC, which package syscall does not name
	var files, procs syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return "", fmt.Errorf("read the limit of open files: %w", err)
	}
	if err := syscall.Getrlimit(nproc, &procs); err != nil {
		return "", fmt.Errorf("read the limit of processes: %w", err)
	}
	const most = 1 << 20 // Podman's own default; it does not read what stands for "unlimited"
	return fmt.Sprintf(`"nofile=%d:%d", "nproc=%d:%[3]d"`, min(files.Max, most), min(files.Max, most), min(procs.Max, most)), nil
}

// runtime is crun where it works, which is not so where cgroups are hybrid (version 1 controllers beside a version 2
// mount) and where it is not installed.
func runtime() string {
	if _, err := exec.LookPath("crun"); err != nil {
		return "runc"
	}
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		return "runc"
	}
	defer mounts.Close()
	v1 := false
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 2 && f[2] == "cgroup" {
			v1 = true
		}
	}
	if v1 {
		return "runc"
	}
	return "crun"
}

// storageDriver is overlay, but for a folder that is itself on an overlay, as inside of a container: the kernel does
// not stack those.
func storageDriver(dir string) string {
	const overlayMagic = 0x794c7630
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && fs.Type == overlayMagic {
		return "vfs"
	}
	return "overlay"
}
