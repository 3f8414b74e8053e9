package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/snapshot"
	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// logCommand is `podman-swarm-agent log`: looking at a log without an agent.
func logCommand(getenv func(string) string) *cobra.Command {
	cmd := &cobra.Command{Use: "log", Short: "Look at the log of a data dir, whether or not an agent has it open"}
	cmd.AddCommand(dumpCommand(getenv), verifyCommand(getenv))
	return cmd
}

func dataDir(cmd *cobra.Command, getenv func(string) string) {
	cmd.Flags().String("data-dir", "/var/lib/podman-swarm", "`folder` whose log to look at")
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if dir := getenv(envPrefix + "DATA_DIR"); dir != "" && !cmd.Flags().Changed("data-dir") {
			return cmd.Flags().Set("data-dir", dir)
		}
		return nil
	}
}

// logKey is the key of the log, if it is sealed.
func logKey(cmd *cobra.Command, getenv func(string) string) (*events.Key, error) {
	return keyring{cmd.Flag("data-dir").Value.String(), getenv("CREDENTIALS_DIRECTORY")}.logKey()
}

func logDir(cmd *cobra.Command) string {
	return filepath.Join(cmd.Flag("data-dir").Value.String(), "events")
}

func dumpCommand(getenv func(string) string) *cobra.Command {
	var from uint64
	cmd := &cobra.Command{
		Use:   "dump",
		Short: "Print the log, one event as one JSON object a line",
		Long: `Print the log, one event as one JSON object a line. It changes nothing, and works beside a running agent as well
as on a damaged log: that is printed as far as it is whole, and the damage is named on standard error (exit code 1).
A sealed log is opened by the encryption.key of the data dir, or that of systemd's credentials.`,
		Example: `  podman-swarm-agent log dump | jq -c 'select(.kind == "declared") | [.at, .actor, .key]'
  podman-swarm-agent log dump --from 1000 --data-dir /mnt/disk/podman-swarm`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			out := bufio.NewWriterSize(cmd.OutOrStdout(), 1<<16)
			var line []byte
			key, err := logKey(cmd, getenv)
			if err != nil {
				return err
			}
			err = events.Dump(logDir(cmd), key, from, func(r events.Record, c *events.Commit) error {
				line = events.AppendLines(line[:0], r, c)
				_, err := out.Write(line)
				return err
			})
			return errors.Join(out.Flush(), err)
		},
	}
	cmd.Flags().Uint64Var(&from, "from", 1, "`index` of the first event to print; the whole commit that holds it is printed")
	dataDir(cmd, getenv)
	return cmd
}

func verifyCommand(getenv func(string) string) *cobra.Command {
	var heads, backups []string
	var identity, passphrase string
	cmd := &cobra.Command{
		Use:   "verify [--head FILE]… [--backup FILE|FOLDER]…",
		Short: "Recompute the hash chain of every incarnation in the log, and hold it to what is known elsewhere",
		Long: `Recompute the hash chain of every incarnation in the log. Whoever may write to the disk could write all of it anew, with every hash in it: with
--head the log is held to what psctl audit head printed once (on this host or another; - is standard input), and with --backup to a backup of this host, or
all of a folder. Host, incarnation and the first event that is not as it was are named on standard error (exit code 1). The log is only read.

It looks at the log, and at nothing else of the host: neither at the increments, where what was trimmed off the log is (events=FIRST-LAST says what is left
of each incarnation; psctl audit verify reads all), nor at backups that are not given, nor at state.json.`,
		Example: `  podman-swarm-agent log verify
  podman-swarm-agent log verify --head heads.txt --backup /mnt/usb/backups --data-dir /mnt/disk/podman-swarm`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var keys seal.Keys
			if identity != "" || passphrase != "" {
				var err error
				if keys, err = seal.KeysOf(identity, passphrase); err != nil {
					return err
				}
			}
			known, err := knownElsewhere(cmd.InOrStdin(), heads, backups, keys)
			if err != nil {
				return err
			}
			key, err := logKey(cmd, getenv)
			if err != nil {
				return err
			}
			chains, err := events.Verify(cmd.Context(), logDir(cmd), key, nil, known...)
			for _, c := range chains {
				word, more := "ok", ""
				if c.Bad != nil || len(c.Differs) > 0 {
					word = "BROKEN"
				}
				if len(known) > 0 {
					more = fmt.Sprintf(" agreed=%d unheld=%d", c.Agreed, c.Unheld)
				}
				if lacks := c.Last - c.Trimmed - c.Holds(); lacks > 0 {
					more += fmt.Sprintf(" not_held=%d", lacks)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s host=%s incarnation=%s events=%d-%d commits=%d head=%s%s\n",
					word, c.Node, c.Inc, c.First, c.Last, c.Records, c.Head, more)
			}
			return err
		},
	}
	cmd.Flags().StringArrayVar(&heads, "head", nil, "`file` of what psctl audit head printed")
	cmd.Flags().StringArrayVar(&backups, "backup", nil, "backup `file`, or a folder of them")
	cmd.Flags().StringVar(&identity, "identity", "", "`file` of the secret keys (age or SSH) that open sealed backups")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "`file` whose first line is the passphrase that opens sealed backups")
	dataDir(cmd, getenv)
	return cmd
}

// knownElsewhere is what a log is to be held to.
func knownElsewhere(in io.Reader, heads, backups []string, keys seal.Keys) (known []events.Known, err error) {
	for _, name := range heads {
		var b []byte
		if name == "-" {
			b, err = io.ReadAll(in)
		} else {
			b, err = os.ReadFile(name)
		}
		if err != nil {
			return nil, err
		}
		before := len(known)
		for line := range strings.Lines(string(b)) {
			k, err := api.ReadMark(line)
			if err != nil {
				return nil, fmt.Errorf("--head %s: %w", name, err)
			}
			if k != nil {
				known = append(known, *k)
			}
		}
		if len(known) == before {
			return nil, fmt.Errorf("--head %s: there is no head in it; psctl audit head prints them\n%w", name, errUsage)
		}
	}
	for _, path := range backups {
		dir, names := path, []string(nil)
		if info, err := os.Stat(path); err != nil {
			return nil, err
		} else if !info.IsDir() {
			dir, names = filepath.Dir(path), []string{filepath.Base(path)}
		}
		folder := &snapshot.Backups{Dir: dir, Keys: keys}
		if names == nil {
			files, err := folder.List()
			if err == nil && len(files) == 0 {
				err = fmt.Errorf("there is no backup in %s", dir)
			}
			if err != nil {
				return nil, err
			}
			for _, f := range files {
				names = append(names, f.Name)
			}
		}
		for _, name := range names {
			b, err := folder.Read(name)
			if err != nil {
				return nil, err
			}
			for _, h := range b.State.Vector() {
				if h.Seq > 0 {
					known = append(known, events.Known{Inc: h.Inc, Seq: h.Seq, Hash: h.Hash.String(), From: "backup " + name})
				}
			}
		}
	}
	return known, nil
}
