package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/vip"
)

func cleanupCommand(getenv func(string) string) *cobra.Command {
	cluster := "default"
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Remove what an agent has set up in this host's network, once it will not run here again",
		Long: `Remove what an agent has set up in this host's network for the addresses of Services: a table of nftables, a route, and an address
of lo. It stays while no agent runs, so that what runs is still reached; one that starts again sets it up again. While one runs here, nothing is
removed, and that is said. Nothing else is touched: containers run on (podman ps --filter label=io.podman-swarm.cluster=NAME lists
them), and the data dir is kept.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name := getenv(envPrefix + "CLUSTER_NAME"); name != "" && !cmd.Flags().Changed("cluster-name") {
				cluster = name
			}
			before, err := vip.Tables()
			if err == nil {
				err = vip.Cleanup(cluster)
			}
			if errors.Is(err, os.ErrPermission) {
				return fmt.Errorf("%w: this needs root; an agent that is not root's has set nothing up", err)
			}
			if err != nil {
				return err
			}
			left, err := vip.Tables()
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			table := vip.TableName(cluster)
			if slices.Contains(before, table) {
				fmt.Fprintf(out, "what there was of cluster %s in this host's network is gone\n", cluster)
			} else {
				fmt.Fprintf(out, "there was no table %s, of cluster %s, in this host's network; a route and an address of lo that an agent had set up are gone\n", table, cluster)
			}
			for _, name := range left {
				fmt.Fprintf(out, "table %s is left, of a cluster of another name: --cluster-name says which to remove\n", name)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&cluster, "cluster-name", cluster, "`name` of the cluster, as the agent had it (or "+envPrefix+"CLUSTER_NAME)")
	return cmd
}
