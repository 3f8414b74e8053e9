package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/snapshot"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// resealFolder is where the log is written anew, and after the exchange what it was before.
const resealFolder = "events.reseal"

// resealCommand is `podman-swarm-agent reseal`.
func resealCommand(getenv func(string) string) *cobra.Command {
	var plain, newKey bool
	cmd := &cobra.Command{
		Use:   "reseal",
		Short: "Seal the log and state.json of a data dir whose agent is stopped; or have them plain; or draw a new key",
		Long: `reseal writes log, snapshots and state.json anew: sealed, by the encryption.key of the data dir, which is made if there is none; with --plain as
they were without --encrypt-state; with --new-key sealed by a new key. It is done whole or not at all: after a crash at any moment the data dir is what it
was or what it was to be, and doing it once more ends it. It takes the room of the log once more meanwhile. The agent must be stopped.

The key is looked for as the agent does: $CREDENTIALS_DIRECTORY/encryption.key, then DATA_DIR/encryption.key, where a new one is put. What was deleted may
still stand on the disk until it is written over; what stands in backups and in copies of the folder is not changed.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if plain && newKey {
				return fmt.Errorf("--plain and --new-key: what is plain has no key\n%w", errUsage)
			}
			dir, err := filepath.Abs(cmd.Flag("data-dir").Value.String())
			if err != nil {
				return err
			}
			r := resealer{ring: keyring{dir, getenv("CREDENTIALS_DIRECTORY")}, plain: plain, newKey: newKey, out: cmd.OutOrStdout(), step: func(string) error { return nil }}
			return r.run()
		},
	}
	cmd.Flags().BoolVar(&plain, "plain", false, "have them plain")
	cmd.Flags().BoolVar(&newKey, "new-key", false, "draw a new key; the old one opens older copies of the data dir only")
	dataDir(cmd, getenv)
	return cmd
}

// resealer has the log of a data dir be kept in another way.
type resealer struct {
	ring          keyring
	plain, newKey bool
	out           io.Writer
	step          func(string) error // is called before each step with its name; in tests it fails, as by a crash

	from, to *events.Key
	percent  int64
}

func (r *resealer) path(name string) string { return filepath.Join(r.ring.dataDir, name) }

func (r *resealer) run() (err error) {
	s, err := events.SealingOf(r.path("events"))
	if err != nil {
		return err
	}
	if s.New {
		return fmt.Errorf("there is no log in %s", r.ring.dataDir)
	}
	if r.from, err = r.ring.logKey(); err != nil {
		return err
	}
	old, err := events.Open(r.path("events"), events.Options{Machine: machineID(), Key: r.from, Reserve: -1, MinFree: 1})
	if errors.Is(err, events.ErrLocked) {
		return fmt.Errorf("%w: stop the agent first", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	if err := finishReseal(r.ring, r.from); err != nil {
		return err
	}
	if r.plain == (r.from == nil) && !r.newKey {
		fmt.Fprintf(r.out, "the log in %s is %s already\n", r.ring.dataDir, r.how(r.from))
		return nil
	}
	if _, err := os.Stat(r.path("opened")); err == nil {
		return errors.New("a restore is unfinished: start the agent once, so that it ends it")
	}
	if err := r.key(); err != nil {
		return err
	}
	if err := r.write(old); err != nil {
		return err
	}
	next, err := events.Open(r.path(resealFolder), events.Options{Machine: machineID(), Key: r.to, Reserve: -1, MinFree: 1}) // so that no agent starts before all is done
	if err != nil {
		return err
	}
	err = r.swap()
	if err = errors.Join(err, next.Close()); err != nil {
		return err
	}
	fmt.Fprintf(r.out, "the log in %s is %s now: start the agent %s --encrypt-state\n", r.ring.dataDir, r.how(r.to), map[bool]string{true: "without", false: "with"}[r.plain])
	return r.left()
}

func (r *resealer) how(k *events.Key) string {
	if k == nil {
		return "plain"
	}
	return "sealed with key " + k.ID().String()
}

// key settles by which key it will be sealed. A new one is on disk before anything is sealed with it.
func (r *resealer) key() (err error) {
	if err := r.step("key"); err != nil || r.plain {
		return err
	}
	if r.newKey {
		r.to, err = writeKey(r.path(keyNext))
		return err
	}
	r.to, err = r.ring.make()
	return err
}

// write writes all of it anew, beside what there is.
func (r *resealer) write(old *events.Log) error {
	if err := r.step("log"); err != nil {
		return err
	}
	err := old.Copy(r.path(resealFolder), r.to, func(done, all int64) {
		if p := 10 * done / max(all, 1); p > r.percent && all >= 1e6 { // what is less is there at once
			r.percent = p
			fmt.Fprintf(r.out, "%d %% of %d MB of log\n", 10*p, all/1e6)
		}
	})
	if err != nil {
		return err
	}
	if err := r.step("beside"); err != nil {
		return err
	}
	return snapshot.Reseal{Dir: r.path("events"), To: r.path(resealFolder), View: r.path("state.json"), NextView: r.path(viewNext), From: r.from, Key: r.to}.Write()
}

// viewNext is state.json, in its new form, before it has its name.
const viewNext = "state.json.reseal"

// swap exchanges the two logs, at one stroke; all after that can be done again.
func (r *resealer) swap() error {
	if err := r.step("exchange"); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, r.path(resealFolder), unix.AT_FDCWD, r.path("events"), unix.RENAME_EXCHANGE)
	if err != nil {
		return fmt.Errorf("exchange %s and %s: %w; nothing was changed", r.path(resealFolder), r.path("events"), err)
	}
	if err := snapshot.SyncFolder(r.ring.dataDir); err != nil {
		return err
	}
	if err := r.step("view"); err != nil {
		return err
	}
	if _, err := os.Stat(r.path(viewNext)); err == nil {
		if err := errors.Join(os.Rename(r.path(viewNext), r.path("state.json")), snapshot.SyncFolder(r.ring.dataDir)); err != nil {
			return err
		}
	}
	if err := r.step("finish"); err != nil {
		return err
	}
	if err := finishReseal(r.ring, r.to); err != nil {
		return err
	}
	return r.step("end")
}

// left says what still lies open in the data dir.
func (r *resealer) left() error {
	if r.to == nil {
		return nil
	}
	entries, err := os.ReadDir(r.ring.dataDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); !strings.HasPrefix(name, "state-backup-") && !strings.HasPrefix(name, "state.json.set-aside-") && name != snapshot.IncrementsFolder {
			continue
		}
		if open, err := liesOpen(r.path(e.Name())); err != nil {
			return err
		} else if open {
			fmt.Fprintf(r.out, "not sealed, and left as it is: %s\n", r.path(e.Name()))
		}
	}
	return nil
}

// liesOpen reports whether a file, or any below a folder, is not sealed, by how it begins. What stands in clear beside sealed files has nothing of what is in them.
func liesOpen(path string) (open bool, err error) {
	err = filepath.WalkDir(path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.HasSuffix(path, ".age.about") {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		head, err := io.ReadAll(io.LimitReader(f, 512))
		if err == nil && !seal.Sealed(head) && !events.SealedFile(head) {
			open, err = true, fs.SkipAll
		}
		return err
	})
	return open, err
}

// finishReseal ends what a reseal that was interrupted has left, in a data dir whose log is open with that key: by then the log is what it was
// or what it was to be, and the rest follows it.
func finishReseal(ring keyring, key *events.Key) error {
	path := func(name string) string { return filepath.Join(ring.dataDir, name) }
	if _, err := os.Lstat(path(resealFolder)); err == nil { // it may have been killed right after the exchange: before what was goes, what is must be there to stay
		if err := snapshot.SyncFolder(ring.dataDir); err != nil {
			return err
		}
	}
	next, err := readKey(path(keyNext), true)
	switch {
	case errors.Is(err, os.ErrNotExist):
		err = nil
	case err == nil && key != nil && next.ID() == key.ID():
		err = os.Rename(path(keyNext), path(keyName))
	case err == nil || key == nil:
		err = os.Remove(path(keyNext))
	}
	if err != nil {
		return fmt.Errorf("end a reseal that was interrupted: %w", err)
	}
	if err := os.Remove(path(viewNext)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := snapshot.DropView(path("state.json"), path("events/state.sum"), key); err != nil {
		return err
	}
	if err := snapshot.SyncFolder(ring.dataDir); err != nil {
		return err
	}
	return os.RemoveAll(path(resealFolder))
}
