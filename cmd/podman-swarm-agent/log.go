package main

import (
	"bufio"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/events"
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
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Recompute the hash chain of every incarnation in the log",
		Args:  usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			key, err := logKey(cmd, getenv)
			if err != nil {
				return err
			}
			chains, err := events.Verify(logDir(cmd), key)
			for _, c := range chains {
				word := "ok"
				if c.Bad != nil {
					word = "BROKEN"
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s host=%s incarnation=%s events=%d-%d commits=%d head=%s\n",
					word, c.Node, c.Inc, c.First, c.Last, c.Records, c.Head)
			}
			return err
		},
	}
	dataDir(cmd, getenv)
	return cmd
}
