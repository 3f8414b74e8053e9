package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// The command line goes before the environment; and what a kubeconfig that it names does not have is not taken from there: a token is for one server.
func TestProgram_reach(t *testing.T) {
	file := func(name string, k client.Kubeconfig) string {
		b, err := k.Render()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	team := file("team", client.Kubeconfig{Server: "https://team:1", Namespace: "team", Access: client.Access{Token: "of team"}})
	bare := file("bare", client.Kubeconfig{Server: "https://bare:1"})
	all := map[string]string{"PSCTL_SERVER": "env:1", "PSCTL_TOKEN": "of env", "KUBECONFIG": team}
	for _, c := range []struct {
		name                      string
		access                    accessFlags
		namespace                 string
		env                       map[string]string
		server, token, namespaced string
	}{
		{"nothing", accessFlags{}, "", nil, client.DefaultServer, "", "default"},
		{"the environment", accessFlags{}, "", all, "env:1", "of env", "default"},
		{"a kubeconfig of the environment", accessFlags{}, "", map[string]string{"KUBECONFIG": team}, "https://team:1", "of team", "team"},
		{"one that is not there", accessFlags{}, "", map[string]string{"KUBECONFIG": team + ".none"}, client.DefaultServer, "", "default"},
		{"a server", accessFlags{server: "mine:1"}, "", all, "mine:1", "of env", "default"},
		{"a kubeconfig", accessFlags{kubeconfig: team}, "", all, "https://team:1", "of team", "team"},
		{"one without a token", accessFlags{kubeconfig: bare}, "", all, "https://bare:1", "", "default"},
		{"a kubeconfig and a server", accessFlags{kubeconfig: team, server: "mine:1", token: "mine"}, "", all, "mine:1", "mine", "team"},
		{"a namespace", accessFlags{kubeconfig: team}, "mine", nil, "https://team:1", "of team", "mine"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &program{getenv: func(name string) string { return c.env[name] }, access: c.access, namespace: c.namespace}
			server, a, err := p.reach()
			if err != nil || server != c.server || a.Token != c.token || p.ns() != c.namespaced {
				t.Errorf("got %q, token %q, namespace %q, %v; want %q, %q, %q", server, a.Token, p.ns(), err, c.server, c.token, c.namespaced)
			}
		})
	}
}

// A kubeconfig is read once: of a pipe there is nothing left the second time, and what has the name default would be changed instead.
func TestProgram_kubeconfigOfAPipe(t *testing.T) {
	b, err := client.Kubeconfig{Server: "https://team:1", Namespace: "team"}.Render()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p := &program{getenv: func(string) string { return "" }, access: accessFlags{kubeconfig: fmt.Sprintf("/dev/fd/%d", r.Fd())}}
	for range 2 {
		if server, _, err := p.reach(); err != nil || server != "https://team:1" || p.ns() != "team" {
			t.Errorf("got %q, namespace %q, %v", server, p.ns(), err)
		}
	}
}
