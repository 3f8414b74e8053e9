package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/snapshot"
)

// backupCommand is `podman-swarm-agent backup`: what can be done with backups where no agent runs.
func backupCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "backup", Short: "Look into a folder of backups, wherever it comes from, without an agent"}
	cmd.AddCommand(extractCommand(), checkCommand())
	return cmd
}

func extractCommand() *cobra.Command {
	var at, from, to string
	var compressed bool
	cmd := &cobra.Command{
		Use:   "extract FOLDER --at MOMENT -o FILE",
		Short: "Make one backup of what a folder of backups and increments has of a moment",
		Long: `Make one backup of the state as it was at a moment, out of a folder of backups with the increments beside them (the agent's --backup-dir, or
its data dir, or a copy of either). It is like any other backup: psctl restore ./FILE restores from it, and so does a host that has nothing
else, if it is copied over state.json. The folder is only read.`,
		Example: `  podman-swarm-agent backup extract /mnt/usb/backups --at 2026-01-21T12:00:00Z -o state.json`,
		Args:    usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, ok := snapshot.ParseMoment(at, time.Now())
			if !ok {
				return fmt.Errorf("--at %q: want the index of an event like 120, a time like 2026-01-21T12:00:00Z, or how long ago, like 2h\n%w", at, errUsage)
			}
			if to == "" {
				return fmt.Errorf("-o: a file is needed\n%w", errUsage)
			}
			data, about, err := snapshot.Folder{Dir: args[0]}.Extract(cmd.Context(), from, m, version, compressed)
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
	cmd.Flags().BoolVar(&compressed, "zstd", false, "compress it, as zstd does")
	return cmd
}

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify FOLDER",
		Short: "Read every backup of a folder, and fold the increments after it",
		Long: `Read every backup of a folder, fold the increments after it, and compare the digests. Each is told of; exit code 1 says that one is damaged. The
folder is only read.`,
		Args: usage(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			files, err := (&snapshot.Backups{Dir: args[0]}).List()
			if err == nil && len(files) == 0 {
				err = fmt.Errorf("there is no backup in %s", args[0])
			}
			var errs []error
			for _, f := range files {
				s, err := snapshot.Folder{Dir: args[0]}.Verify(cmd.Context(), f.Name)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is whole, and goes on to event %d, %s\n", f.Name, s.Index(), s.At().Format(time.RFC3339))
			}
			return errors.Join(err, errors.Join(errs...))
		},
	}
	return cmd
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
