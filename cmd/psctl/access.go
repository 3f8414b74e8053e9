package main

import (
	"cmp"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// accessFlags say which agent is asked, and what is shown to it.
type accessFlags struct{ server, token, ca, cert, key, kubeconfig string }

func (p *program) accessFlags(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&p.access.server, "server", "", "address of the agent (default $PSCTL_SERVER, else "+client.DefaultServer+")")
	f.StringVar(&p.access.token, "token", "", "token to show to an agent on another host, or @FILE that holds it (default $PSCTL_TOKEN)")
	f.StringVar(&p.access.ca, "ca", "", "file with the CA of the agent's certificate (default $PSCTL_CA)")
	f.StringVar(&p.access.cert, "cert", "", "file with a client certificate (default $PSCTL_CERT)")
	f.StringVar(&p.access.key, "key", "", "file with its key (default $PSCTL_KEY)")
	f.StringVar(&p.access.kubeconfig, "kubeconfig", "", "kubeconfig file that says all of that, and the namespace; the PSCTL_ variables then do not count (default $KUBECONFIG, where no server is named)")
	_ = root.RegisterFlagCompletionFunc("server", cobra.NoFileCompletions) // the flags are there
	_ = root.RegisterFlagCompletionFunc("token", cobra.NoFileCompletions)
}

// reach is the agent that is asked, and what is shown to it. The command line goes before all else. Where it names a
// kubeconfig, the environment does not count: what that holds may be for another server.
func (p *program) reach() (server string, a client.Access, err error) {
	k, err := p.kubeconfig()
	if err != nil {
		return "", a, usage("kubeconfig: %v", err)
	}
	getenv := p.getenv
	if p.access.kubeconfig != "" {
		getenv = func(string) string { return "" }
	}
	server, a = cmp.Or(p.access.server, getenv("PSCTL_SERVER"), k.Server, client.DefaultServer), k.Access
	token := cmp.Or(p.access.token, getenv("PSCTL_TOKEN"))
	if file, ok := strings.CutPrefix(token, "@"); ok {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", a, usage("--token: %v", err)
		}
		token = strings.TrimSpace(string(b))
	}
	a.Token = cmp.Or(token, a.Token)
	for _, f := range []struct {
		flag, variable string
		file           string
		into           *[]byte
	}{{"--ca", "PSCTL_CA", p.access.ca, &a.CA}, {"--cert", "PSCTL_CERT", p.access.cert, &a.Cert}, {"--key", "PSCTL_KEY", p.access.key, &a.Key}} {
		file := cmp.Or(f.file, getenv(f.variable))
		if file == "" {
			continue
		}
		if *f.into, err = os.ReadFile(file); err != nil {
			return "", a, usage("%s: %v", f.flag, err)
		}
	}
	return server, a, nil
}

// kubeconfig is the one of --kubeconfig, or, where no server is named, that of KUBECONFIG. It is read once: it may be a pipe.
func (p *program) kubeconfig() (client.Kubeconfig, error) {
	p.kube.Do(func() { p.kube.Kubeconfig, p.kube.error = p.readKubeconfig() })
	return p.kube.Kubeconfig, p.kube.error
}

// readKubeconfig passes over a file that the environment names and that is not there, as kubectl does.
func (p *program) readKubeconfig() (k client.Kubeconfig, err error) {
	path := p.access.kubeconfig
	if path == "" && cmp.Or(p.access.server, p.getenv("PSCTL_SERVER")) == "" {
		path, _, _ = strings.Cut(p.getenv("KUBECONFIG"), string(filepath.ListSeparator))
		if _, err := os.Stat(path); err != nil {
			path = ""
		}
	}
	if path == "" {
		return k, nil
	}
	return client.ReadKubeconfig(path)
}

// client is the client of the agent that is asked.
func (p *program) client() (*client.Client, error) {
	server, access, err := p.reach()
	if err != nil {
		return nil, err
	}
	c, err := client.New(server, p.name())
	if err == nil {
		c, err = c.With(access)
	}
	if err != nil {
		return nil, usage("%v", err)
	}
	c.Later = p.later()
	return c, nil
}

// later has an agent that has just started asked again for half a minute, which is said once.
func (p *program) later() func(*client.StatusError) bool {
	var since time.Time
	return func(why *client.StatusError) bool {
		if since.IsZero() {
			since = p.now()
			p.note("psctl: %v. Trying again for 30 s", why)
		}
		return p.now().Sub(since) < 30*time.Second
	}
}

// address is that of the agent that is asked, to be shown.
func (p *program) address() string {
	server, _, err := p.reach()
	if err != nil {
		return "?"
	}
	return server
}
