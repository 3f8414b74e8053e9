package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// kind is a file system as it is made and mounted.
type kind struct {
	name    string
	mkfs    []string
	options string
}

// kinds are what the power of is cut. noauto_da_alloc takes from ext4 what it does for programs that rename without
// syncing: with it on, a missing fsync could go unseen. only names one; "": all.
func kinds(only string) []kind {
	ext4 := []string{"mkfs.ext4", "-q", "-F", "-E", "nodiscard"}
	all := []kind{
		{"ext4", ext4, "defaults"},
		{"ext4-noauto_da_alloc", ext4, "noauto_da_alloc"},
		{"xfs", []string{"mkfs.xfs", "-q", "-f", "-K"}, "defaults"},
	}
	return slices.DeleteFunc(all, func(k kind) bool { return only != "" && k.name != only })
}

// make makes the file system in a file.
func (k kind) make(ctx context.Context, file string) error {
	return command(ctx, append(append([]string{}, k.mkfs...), file)...)
}

// mount mounts the file at dir.
func (k kind) mount(ctx context.Context, file, dir string) error {
	fs, _, _ := strings.Cut(k.name, "-")
	return command(ctx, "mount", "-t", fs, "-o", "loop,"+k.options, file, dir)
}

// shutdown stops the file system mounted at dir as if its disk had lost its power: nothing that is only in memory
// reaches the disk any more, not even the journal.
func shutdown(dir string) error {
	const (
		goingDown  = 0x8004587d // XFS_IOC_GOINGDOWN, EXT4_IOC_SHUTDOWN
		noLogFlush = 2
	)
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := unix.IoctlSetPointerInt(int(d.Fd()), goingDown, noLogFlush); err != nil {
		return errors.Join(fmt.Errorf("shut the file system at %s down: %w", dir, err), d.Close())
	}
	return d.Close()
}

// unmount unmounts what is mounted at dir. It tries again for some seconds, since what was killed may not yet be
// wholly gone.
func unmount(dir string) error {
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := unix.Unmount(dir, 0)
		if err == nil || !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
			if err != nil {
				err = fmt.Errorf("unmount %s: %w", dir, err)
			}
			return err
		}
		<-time.After(20 * time.Millisecond)
	}
}

// sparse makes a file of that size that takes no room yet.
func sparse(file string, size int64) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Close())
}

// missing says what this machine lacks for a power cut.
func missing() error {
	var errs []error
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("this needs root, to mount file systems"))
	}
	for _, tool := range []string{"mkfs.ext4", "mkfs.xfs", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			errs = append(errs, fmt.Errorf("%w; `integration/setup.sh tests` installs it", err))
		}
	}
	for _, device := range []string{"/dev/loop-control", "/dev/fuse"} {
		if _, err := os.Stat(device); err != nil {
			errs = append(errs, fmt.Errorf("the kernel or the container that this runs in lacks a device: %w", err))
		}
	}
	return errors.Join(errs...)
}

func command(ctx context.Context, line ...string) error {
	out, err := exec.CommandContext(ctx, line[0], line[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(line, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
