package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// The exit codes. They are an interface: scripts branch on them.
const (
	exitDone        = 0
	exitRefused     = 1
	exitUsage       = 2
	exitUnreachable = 3
	exitNotFound    = 4
	exitTimeout     = 5
	exitNotSpread   = 6
	exitInterrupted = 130 // as a shell has it: 128 and SIGINT
)

// exitHelp is what --help says of them.
const exitHelp = `Exit codes:
  0    done
  1    refused by the agent, or it did not work out; the message says what was and what was not done
  2    the command line is wrong; nothing was asked of the agent
  3    no agent answers at the address, or it is silent for 30 s where it is only asked how things are now
  4    what was named is not there
  5    time was up while waiting; the change itself stands
  6    the change is made and stands, and is not on disk of as many hosts as --wait-for wants
  130  interrupted`

// usageError is a mistake in the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

func usage(format string, a ...any) error { return &usageError{fmt.Sprintf(format, a...)} }

// notFoundError says that something is not there which the agent was not asked for by name.
type notFoundError struct{ text string }

func (e *notFoundError) Error() string { return e.text }

func notFound(format string, a ...any) error { return &notFoundError{fmt.Sprintf(format, a...)} }

// timeoutError says that what was waited for has not come.
type timeoutError struct{ text string }

func (e *timeoutError) Error() string { return e.text }

// notSpreadError says that a change is made, and on disk of too few hosts.
type notSpreadError struct{ text string }

func (e *notSpreadError) Error() string { return e.text }

// interruptedError says how things stand after an interrupt.
type interruptedError struct{ text string }

func (e *interruptedError) Error() string { return e.text }

// unansweredError is that of a request for a change, and says what to do where it is not known whether it was done.
type unansweredError struct {
	what, next string
	err        error
}

func (e *unansweredError) Error() string { return e.what + ": " + e.err.Error() }
func (e *unansweredError) Unwrap() error { return e.err }

// unanswered is the error of a request for a change: after an interrupt it says that the outcome is not known, and with that what to
// do next. That is againIsSafe only where a second one changes nothing.
func unanswered(ctx context.Context, what, next string, err error) error {
	if ctx.Err() != nil {
		return &interruptedError{"interrupted before the agent had answered: " + what + unknown + next}
	}
	return &unansweredError{what, next, err}
}

const (
	// unknown is said of a change that was sent and not answered.
	unknown = "\nIt is not known whether it was done. "

	// againIsSafe follows it where that is right.
	againIsSafe = "Doing it again is safe: what was done already is left as it is."
)

// lookAt has the revisions of a Deployment looked at first.
func lookAt(d deployment) string {
	return "Look first:  psctl rollout history deployment/" + d.name + inNamespace(d.namespace)
}

// errTold is an error of which everything has been said.
var errTold = errors.New("told")

// code is the exit code for what a command returned.
func (p *program) code(ctx context.Context, err error) int {
	var (
		bad     *usageError
		absent  *notFoundError
		timeout *timeoutError
		few     *notSpreadError
	)
	switch {
	case err == nil:
		return exitDone
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &bad) || !p.started:
		return exitUsage
	case errors.As(err, &timeout):
		return exitTimeout
	case errors.As(err, &few):
		return exitNotSpread
	case client.IsUnreachable(err):
		return exitUnreachable
	case errors.As(err, &absent) || client.IsNotFound(err):
		return exitNotFound
	}
	return exitRefused
}

// explain is what is said of an error: what happened, to what, and what to do now.
func (p *program) explain(err error) string {
	var (
		status *client.StatusError
		away   *client.UnreachableError
		change *unansweredError
		bad    *usageError
	)
	text := strings.TrimSuffix(err.Error(), "\n")
	switch {
	case errors.Is(err, errTold):
		return ""
	case errors.As(err, &bad) || !p.started:
		return text + "\n(psctl --help, or psctl COMMAND --help, lists what there is)"
	case errors.As(err, &away) && !away.Ended.IsZero():
		return text + "\nOn a host of the cluster,  podman-swarm-agent kubeconfig  prints one with a new certificate."
	case errors.As(err, &away) && away.Sent && errors.As(err, &change):
		return text + unknown + change.next
	case errors.As(err, &away) && away.Sent:
		return text
	case errors.As(err, &away) && away.Untrusted():
		return text + "\nWho signed its certificate? Give the CA by --ca FILE or PSCTL_CA, or a kubeconfig that has it:" +
			"  podman-swarm-agent kubeconfig, on that host, prints one"
	case client.IsUnauthorized(err):
		return text + "\nShow a token by --token @FILE or PSCTL_TOKEN, a certificate by --cert and --key, or a kubeconfig that has one of them." +
			"\nOn a host of the cluster,  psctl token create NAME --scope read  makes a token."
	case errors.As(err, &away):
		return text + "\nIs the agent running here? Start it:  systemctl start podman-swarm-agent" +
			"\nIs it another host's, or another port? Name it:  --server https://HOST:PORT, or PSCTL_SERVER"
	case errors.As(err, &status) && status.Code == http.StatusInsufficientStorage:
		return text + "\nMake room on the agent's disk; it then takes changes again by itself. Containers run on meanwhile."
	case errors.As(err, &status) && status.Code == http.StatusServiceUnavailable:
		after := "in some seconds"
		if status.RetryAfter != "" {
			after = "in " + status.RetryAfter + " s"
		}
		return text + "\nTry again " + after + "; psctl status tells how the agent is."
	}
	return text
}
