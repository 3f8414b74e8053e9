package podmanhost

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// OpenApart is Open for a host that is a machine of its own as far as the kernel can make one: with a network
// namespace in which there is only lo, with a machine id, and with another boot id each time it is switched on. It is
// for hosts that meet over a network of the caller's, and whose power can be cut. No container has been run on it. image
// is BuildImage's: hosts can share one.
//
// The network namespace has no name. It ends, with all devices and firewall rules in it, when the last process in it
// does.
func OpenApart(ctx context.Context, dir string, image []byte) (*Host, error) {
	return open(ctx, &Host{dir: dir, apart: true, image: image})
}

// Inside is a command to run other commands with, so that they run on this host: in its network, and with its /run,
// its machine id and its boot id. It is good until the power is cut.
func (h *Host) Inside() []string {
	return []string{"nsenter", "--target", strconv.Itoa(h.init.Process.Pid), "--net", "--mount", "--"}
}

// NetworkFile is a file that stands for the host's network namespace. It is good until the power is cut.
func (h *Host) NetworkFile() string {
	return filepath.Join("/proc", strconv.Itoa(h.init.Process.Pid), "ns", "net")
}

// On reports whether the host has power.
func (h *Host) On() bool { return h.init != nil }

// PowerOff kills all that runs on a host that is apart, at once and with nobody told: the service and all containers.
// What was put there with Inside is not of them. The storage stays as it is.
func (h *Host) PowerOff() error {
	if !h.apart {
		return errors.New("cut the power: the host shares the machine's network, where its traces would stay")
	}
	if h.init == nil {
		return nil
	}
	if err := errors.Join(h.killInit(), removeCgroups(h.dir)); err != nil {
		return fmt.Errorf("cut the power of the host in %s: %w", h.dir, err)
	}
	return nil
}

// PowerOn starts the host again after PowerOff. On return its service answers, none of its containers run
// (Podman 4.3 calls those that did "created"), and in its network there is only lo.
func (h *Host) PowerOn(ctx context.Context) error {
	if err := h.boot(ctx); err != nil {
		return fmt.Errorf("switch the host in %s on: %w\n%s", h.dir, err, h.logTail())
	}
	return nil
}

// Sweep removes what a host in dir has left outside of dir when its process was killed: empty cgroups. The folder itself
// is the caller's to remove.
func Sweep(dir string) error { return removeCgroups(dir) }

// machineID is the file of the host's machine id; "" for a host that has the machine's own.
func (h *Host) machineID() string {
	if !h.apart {
		return ""
	}
	return filepath.Join(h.dir, "machine-id")
}

func (h *Host) drawMachineID() error {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return err
	}
	return os.WriteFile(h.machineID(), []byte(hex.EncodeToString(id[:])+"\n"), 0o644)
}
