// Command podman-swarm-agent runs on every host: it keeps the log, the state and the containers.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// errUsage marks mistakes of the command line and the environment: exit code 2, and nothing has been touched.
var errUsage = errors.New("see podman-swarm-agent --help")

// run is the whole program, but for the process around it: 0 when all went well, 1 when something failed, 2 when
// it was called wrongly.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	cmd := root(environ)
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "podman-swarm-agent: %v\n", err)
		return 2
	default:
		fmt.Fprintf(stderr, "podman-swarm-agent: %v\n", err)
		return 1
	}
}

func root(environ []string) *cobra.Command {
	var c config
	getenv := lookup(environ)
	cmd := &cobra.Command{
		Use:   "podman-swarm-agent",
		Short: "Run containers with Podman as Kubernetes manifests say, and never lose what was said",
		Long: `The agent of one host. It takes manifests through its API (psctl, or any HTTP client), puts every change into its
log before it acknowledges it, and makes the containers of this host what the log says. Stopping it stops no container.

Without --cluster-addr it is alone. With it, and no --join, it makes a cluster; other hosts join that by --join and a token.
Who has joined once needs neither any more: it remembers the others.

Every flag has an environment variable, which the flag wins over: PODMAN_SWARM_DATA_DIR for --data-dir, and so on. One
of such a name that no flag has is a mistake.

Traces go where OpenTelemetry's variables say (OTEL_EXPORTER_OTLP_ENDPOINT=http://COLLECTOR:4318), and nowhere without them.`,
		Args:          usage(cobra.NoArgs),
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(fromEnv(cmd.Flags(), environ), c.check(getenv)); err != nil {
				return fmt.Errorf("%w\n%w", err, errUsage)
			}
			return serve(cmd.Context(), &c, logger(&c, cmd.ErrOrStderr()))
		},
	}
	c.flags(cmd.Flags())
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w\n%w", err, errUsage) })
	cmd.SetVersionTemplate("podman-swarm-agent {{.Version}}\n")
	cmd.CompletionOptions.DisableDefaultCmd = true
	cmd.AddCommand(logCommand(getenv), tokenCommand(getenv), kubeconfigCommand(getenv), backupCommand(), resealCommand(getenv), cleanupCommand(getenv))
	return cmd
}

// usage marks what is wrong with arguments as a mistake of the caller.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return fmt.Errorf("%w\n%w", err, errUsage)
		}
		return nil
	}
}

func logger(c *config, w io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
