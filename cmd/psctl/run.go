package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// program is one run of psctl: what every command needs.
type program struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string
	now      func() time.Time

	access accessFlags
	kube   struct { // the kubeconfig, once somebody has asked
		sync.Once
		client.Kubeconfig
		error
	}
	namespace string    // --namespace; "" when not given
	cause     causeText // --cause; "" when not given
	started   bool      // the command line was understood
}

// run does what args say and returns the exit code. It ends soon after ctx does, with exitInterrupted.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	p := &program{in: stdin, out: stdout, err: stderr, getenv: getenv, now: time.Now}
	root := p.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	within := ctx
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, 2*time.Second) // a shell waits for it
		defer cancel()
	}
	err := root.ExecuteContext(within)
	code := p.code(ctx, err)
	var cut *interruptedError
	if code != exitDone && (code != exitInterrupted || errors.As(err, &cut)) {
		if text := p.explain(err); text != "" {
			fmt.Fprintln(stderr, "psctl:", text)
		}
	}
	return code
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "psctl",
		Short: "Speak to a Podman Swarm agent",
		Long: `psctl speaks to the agent of a Podman Swarm host: it applies Kubernetes manifests, shows what runs and why not,
and reads the log in which every change is an event.

The agent asked is the one of --server, else of --kubeconfig, else of the variable PSCTL_SERVER, else of KUBECONFIG, else ` + client.DefaultServer + `.
One on another host is asked over https, and shown a token (--token, PSCTL_TOKEN) or a client certificate.

` + exitHelp,
		Example: `  psctl apply -f web.yaml --wait      make it so, and wait until it is
  psctl get pods                      what runs where, on which ports, and why not
  psctl events --follow               every change, as it happens
  psctl recovery                      what the agent found when it last started`,
		Version:           version,
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: p.begin,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE: func(c *cobra.Command, args []string) error { // and no Args: then Cobra looks for the command before its flags
			return c.Help()
		},
	}
	root.SetVersionTemplate("psctl {{.Version}}\n")
	p.accessFlags(root)
	root.PersistentFlags().StringVarP(&p.namespace, "namespace", "n", "", `namespace (default that of the kubeconfig, else "default")`)
	_ = root.RegisterFlagCompletionFunc("namespace", p.completeNamespace) // the flag is there
	root.AddCommand(p.apply(), p.get(), p.describe(), p.delete(), p.scale(), p.rollout(), p.logs(), p.events(), p.history(), p.blame(), p.diff(), p.state(),
		p.status(), p.nodes(), p.cordon(), p.uncordon(), p.drain(), p.node(), p.dns(), p.token(), p.backup(), p.restore(), p.restores(), p.undo(), p.recovery(), p.conflicts(), p.audit(), p.orphans(), p.portForward(), p.proxy(), p.completion(), p.versionCommand())
	for _, c := range root.Commands() {
		c.DisableFlagsInUseLine = true
	}
	return root
}

// begin looks at the arguments of every command: none is ever empty, but for what a script had not set.
func (p *program) begin(c *cobra.Command, args []string) error {
	if i := slices.Index(args, ""); i >= 0 && c.Name() != cobra.ShellCompRequestCmd && c.Name() != cobra.ShellCompNoDescRequestCmd {
		return usage("%s: argument %d is empty", c.CommandPath(), i+1)
	}
	p.started = true
	return nil
}

// name is what psctl calls itself to the agent, which puts it down as the actor of a change: who ran it, as far as the
// environment tells.
func (p *program) name() string {
	who := p.getenv("USER")
	if u, err := user.Current(); who == "" && err == nil {
		who = u.Username
	}
	if sudo := p.getenv("SUDO_USER"); sudo != "" && sudo != who {
		who = sudo + " as " + who
	}
	if who == "" {
		return "psctl/" + version
	}
	return "psctl/" + version + " (" + who + ")"
}

// ns is the namespace that is meant: the one given, else that of the kubeconfig, else default.
func (p *program) ns() string {
	if p.namespace != "" {
		return p.namespace
	}
	k, _ := p.kubeconfig() // who asks an agent is told of the error
	return cmp.Or(k.Namespace, "default")
}

// note says something that is no part of the answer.
func (p *program) note(format string, a ...any) { fmt.Fprintf(p.err, format+"\n", a...) }

// input is what read gets from standard input. It waits for whoever writes there; an interrupt does not wait for it.
func input[T any](ctx context.Context, read func() (T, error)) (T, error) {
	var got T
	done := make(chan error, 1)
	go func() {
		all, err := read()
		got = all
		done <- err
	}()
	select {
	case err := <-done:
		return got, err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
	}
}

// lost tells that an agent that was being followed is gone.
func (p *program) lost(err error) {
	p.note("%v; waiting up to %v for it to come back", err, client.Patience)
}

// printf writes to standard output. The error is that of a pipe whose reader has gone.
func (p *program) printf(format string, a ...any) error {
	_, err := fmt.Fprintf(p.out, format, a...)
	return err
}

// andWord joins what a person reads: "a", "a and b", "a, b and c".
func andWord(all []string) string {
	if len(all) < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:len(all)-1], ", ") + " and " + all[len(all)-1]
}

// plural is "1 pod", "2 pods".
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}
