package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/api"
	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
	"github.com/podman-swarm/podman-swarm/sync/authority"
)

// tokenCommand is `podman-swarm-agent token`: what a host needs to join.
func tokenCommand(getenv func(string) string) *cobra.Command {
	var addr string
	var rotate bool
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Print the token by which a host joins this host's cluster",
		Long: `Print the token by which a host joins this host's cluster, making one if none is valid. Any member prints the same. Who
has it can make himself a member, and so do everything: keep it as you keep a root password. It is good until it is
rotated, unless it was made with --ttl: then it is said on stderr when it ends. Of those that are valid, the one that holds
longest is printed. What has joined stays in when it ends.

An agent that has just started is waited for: up to 5 s until it answers, and up to 2 m while it hears the other hosts.`,
		Example: `  podman-swarm-agent token
  podman-swarm-agent token --ttl 1h      one that is good for an hour, beside those there are
  podman-swarm-agent token --rotate      a new one; those there are end

  on the new host:
  PODMAN_SWARM_JOIN_TOKEN=PSWTKN-1-… podman-swarm-agent --cluster-addr 192.168.1.12:7946 --join 192.168.1.11:7946`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ttl < 0 {
				return fmt.Errorf("--ttl %v: must not be negative\n%w", ttl, errUsage)
			}
			if a := getenv(envPrefix + "API_ADDR"); a != "" && !cmd.Flags().Changed("api-addr") {
				addr = a
			}
			c, err := client.New("http://"+addr, "podman-swarm-agent/"+version)
			if err != nil {
				return fmt.Errorf("--api-addr: %w\n%w", err, errUsage)
			}
			wish, err := json.Marshal(map[string]any{"rotate": rotate, "ttl": ttl.String()})
			if err != nil {
				return err
			}
			b, err := patiently(cmd.Context(), cmd.ErrOrStderr(), func(ctx context.Context) ([]byte, error) {
				return c.Do(ctx, client.Request{Method: http.MethodPost, Path: "/swarm/v1/join-token", Body: wish})
			})
			var answer *client.StatusError
			if errors.As(err, &answer) && answer.Code == http.StatusNotImplemented {
				return errors.New("the agent has no cluster port, so nobody can join it: start it with --cluster-addr")
			}
			if err != nil {
				return err
			}
			var given api.JoinToken
			if err := json.Unmarshal(b, &given); err != nil {
				return fmt.Errorf("read the agent's answer: %w", err)
			}
			if !given.Expires.IsZero() {
				fmt.Fprintf(cmd.ErrOrStderr(), "it ends at %s; --ttl and --rotate make another\n", given.Expires.UTC().Format(time.DateTime+" UTC"))
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), given.Token)
			return err
		},
	}
	cmd.Flags().StringVar(&addr, "api-addr", "127.0.0.1:8080", "`host:port` of the agent's API")
	cmd.Flags().BoolVar(&rotate, "rotate", false, "make a new one, and end those there are")
	cmd.Flags().DurationVar(&ttl, "ttl", 0, "make one that is good for as `long`")
	return cmd
}

// For how long is waited for an agent that has just been started: until it answers, and until it takes changes. The other
// hosts are heard for a minute at most, unless it was told otherwise.
const (
	untilThere = 5 * time.Second
	untilHeard = 2 * time.Minute
)

// patiently asks until the agent does it, if it has only just started. What was refused so far changed nothing.
func patiently(ctx context.Context, says io.Writer, ask func(context.Context) ([]byte, error)) ([]byte, error) {
	began, said := time.Now(), false
	for {
		b, err := ask(ctx)
		var away *client.UnreachableError
		patience := time.Duration(0)
		switch {
		case client.IsUnavailable(err):
			patience = untilHeard
		case errors.As(err, &away) && !away.Sent && !away.Untrusted():
			patience = untilThere
		}
		left := patience - time.Since(began)
		if left <= 0 {
			return b, err
		}
		if !said {
			fmt.Fprintf(says, "%v; it may have been started just now: trying for up to %v\n", err, patience)
			said = true
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(left, time.Second/4)):
		}
	}
}

// kubeconfigCommand is `podman-swarm-agent kubeconfig`: what kubectl and psctl need elsewhere.
func kubeconfigCommand(getenv func(string) string) *cobra.Command {
	var user, server string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "kubeconfig",
		Short: "Print a kubeconfig with a certificate for a user, for kubectl and psctl on other hosts",
		Long: `Print a kubeconfig with a client certificate for a user, who may do everything. It cannot be taken back before it ends, so
give it no longer than needed; for less than everything, or to take it back, make a token: psctl token create.`,
		Example: `  umask 077; podman-swarm-agent kubeconfig --user alice --server https://192.168.1.11:6443 > alice.kubeconfig`,
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := url.Parse(server)
			if err != nil || u.Scheme != "https" || u.Host == "" {
				return fmt.Errorf("--server %q: want https://host:port, where an agent has its --api-tls-addr\n%w", server, errUsage)
			}
			if user == "" || ttl <= 0 {
				return fmt.Errorf("--user and --ttl: want a name, and how long it is good for\n%w", errUsage)
			}
			dir := filepath.Join(cmd.Flag("data-dir").Value.String(), "authority")
			m, err := openAuthority(dir)
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%s: this host has no authority: its agent makes one when it is started with --api-tls-addr or --cluster-addr; if it has been just now, try again in a moment", dir)
			}
			if err != nil {
				return err
			}
			cert, err := m.IssueUser(user, time.Now(), ttl)
			if err != nil {
				return err
			}
			text, err := client.Kubeconfig{Name: m.Cluster(), Server: server,
				Access: client.Access{CA: m.CertificatePEM(), Cert: cert.Certificate, Key: cert.Key}}.Render()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&user, "user", "", "`name` of the user, as events will have it")
	cmd.Flags().StringVar(&server, "server", "", "`URL` of the API on TLS, as that user reaches it")
	cmd.Flags().DurationVar(&ttl, "ttl", 30*24*time.Hour, "how `long` the certificate is good")
	dataDir(cmd, getenv)
	cmd.Flag("data-dir").Usage = "`folder` of the agent, whose authority/ signs it"
	return cmd
}

// openAuthority opens the authority of a host that the certificate beside it names.
func openAuthority(dir string) (*authority.Member, error) {
	b, err := os.ReadFile(filepath.Join(dir, "node.crt"))
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s: node.crt is no certificate", dir)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: node.crt: %w", dir, err)
	}
	return authority.Open(dir, authority.Options{Node: cert.Subject.CommonName})
}
