package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/podman-swarm/podman-swarm/snapshot"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// folderKeys are the flags that say what opens what is sealed in a folder of backups.
type folderKeys struct{ identity, passphrase string }

func (k *folderKeys) flags(fs *pflag.FlagSet) {
	fs.StringVar(&k.identity, "identity", "", "`file` of the secret keys (age or SSH) that open what is sealed")
	fs.StringVar(&k.passphrase, "passphrase-file", "", "`file` whose first line is the passphrase that opens what is sealed")
}

// folder is a folder of backups, with the keys.
func (k *folderKeys) folder(dir string) (snapshot.Folder, error) {
	keys, err := seal.KeysOf(k.identity, k.passphrase)
	if err != nil {
		return snapshot.Folder{}, fmt.Errorf("%w\n%w", err, errUsage)
	}
	return snapshot.Folder{Dir: dir, Keys: keys}, nil
}

// backupCommand is `podman-swarm-agent backup`: what can be done with backups where no agent runs.
func backupCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "backup", Short: "Look into a folder of backups, wherever it comes from, without an agent"}
	cmd.AddCommand(extractCommand(), checkCommand())
	return cmd
}

func extractCommand() *cobra.Command {
	var at, from, to string
	var compressed bool
	var keys folderKeys
	cmd := &cobra.Command{
		Use:   "extract FOLDER --at MOMENT -o FILE",
		Short: "Make one backup of what a folder of backups and increments has of a moment",
		Long: `Make one backup of the state as it was at a moment, out of a folder of backups with the increments beside them (the agent's --backup-dir, or
its data dir, or a copy of either). It is like any other backup: psctl restore ./FILE restores from it, and so does a host that has nothing
else, if it is copied over state.json. The folder is only read. What is sealed in it is opened by --identity or --passphrase-file; what is made is plain.`,
		Example: `  podman-swarm-agent backup extract /mnt/usb/backups --at 2026-01-21T12:00:00Z -o state.json
  podman-swarm-agent backup extract /mnt/usb/backups --at 120 --identity key.txt -o state.json`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, ok := snapshot.ParseMoment(at, time.Now())
			if !ok {
				return fmt.Errorf("--at %q: want the index of an event like 120, a time like 2026-01-21T12:00:00Z, or how long ago, like 2h\n%w", at, errUsage)
			}
			if to == "" {
				return fmt.Errorf("-o: a file is needed\n%w", errUsage)
			}
			folder, err := keys.folder(args[0])
			if err != nil {
				return err
			}
			data, about, err := folder.Extract(cmd.Context(), from, m, version, compressed)
			if errors.Is(err, seal.ErrNoKey) && keys == (folderKeys{}) {
				err = fmt.Errorf("%w: --identity FILE, or --passphrase-file FILE, opens it", err)
			}
			if err != nil {
				return err
			}
			if err := writeNew(to, data); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s has the state of host %s at event %d, %s\n", to, about.Node, about.Index, about.Made.Format(time.RFC3339Nano))
			return nil
		},
	}
	cmd.Flags().StringVar(&at, "at", "0s", "`moment`: the index of an event, a time, or how long ago; the last there is if nothing is said")
	cmd.Flags().StringVar(&from, "from", "", "`name` of the backup in the folder to go from (default: the newest before the moment)")
	cmd.Flags().StringVarP(&to, "output", "o", "", "`file` to write, which must not be there")
	keys.flags(cmd.Flags())
	cmd.Flags().BoolVar(&compressed, "zstd", false, "compress it, as zstd does")
	return cmd
}

func checkCommand() *cobra.Command {
	var keys folderKeys
	cmd := &cobra.Command{
		Use:   "verify FOLDER",
		Short: "Read every backup and every increment of a folder, and fold them",
		Long: `Read every backup of a folder, fold the increments after it, and compare the digests; then read every increment. Each is told of; exit code 1 says
that one is damaged. Of what is sealed, and opened by no --identity or --passphrase-file, it is found out whether its bytes are those that were written.
The folder is only read.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder, err := keys.folder(args[0])
			if err != nil {
				return err
			}
			return check(cmd.Context(), folder, cmd.OutOrStdout())
		},
	}
	keys.flags(cmd.Flags())
	return cmd
}

// check tells of all that is in a folder of backups whether it is whole. The error tells of what is not.
func check(ctx context.Context, folder snapshot.Folder, out io.Writer) error {
	backups := &snapshot.Backups{Dir: folder.Dir, Keys: folder.Keys}
	files, err := backups.List()
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		found, err := backups.Check(f.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if !found.Opened {
			fmt.Fprintf(out, "%s: its sealed bytes are whole; it was not opened: --identity FILE does that\n", f.Name)
			continue
		}
		if found.Original != nil {
			fmt.Fprintf(out, "%s is of version 1, kept as it was: %v\n", f.Name, found.Original)
			continue
		}
		s, err := folder.Verify(ctx, f.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(out, "%s is whole, and goes on to event %d, %s\n", f.Name, s.Index(), s.At().Format(time.RFC3339))
	}
	logs, err := folder.CheckIncrements(ctx)
	for _, l := range logs {
		for _, damage := range l.Damage {
			errs = append(errs, errors.New(damage))
		}
		if len(l.Damage) == 0 {
			fmt.Fprintln(out, l)
		}
	}
	if err == nil && len(files) == 0 && len(logs) == 0 {
		err = fmt.Errorf("there is no backup in %s", folder.Dir)
	}
	return errors.Join(err, errors.Join(errs...))
}

// writeNew writes a file that is not there yet, durably.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
