package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) token() *cobra.Command {
	c := &cobra.Command{
		Use:        "token create|list|revoke",
		Aliases:    []string{"tokens"},
		SuggestFor: []string{"login"},
		Short:      "Make, list and revoke tokens for the API on TLS",
		Long: `Tokens let people and programs on other hosts ask the API where it listens on TLS. Every host of the cluster knows them,
by a hash: the secret itself is shown once, to who makes it. (How hosts join is another token: podman-swarm-agent token.)`,
		RunE: func(*cobra.Command, []string) error {
			return usage("what of tokens? psctl token create NAME --scope read, psctl token list, psctl token revoke NAME")
		},
	}
	c.AddCommand(p.tokenCreate(), p.tokenList(), p.tokenRevoke())
	return c
}

func (p *program) tokenCreate() *cobra.Command {
	var scope, ttl string
	var namespaces []string
	var on spread
	c := &cobra.Command{
		Use:   "create NAME --scope read|write|admin",
		Short: "Make a token, and show its secret once",
		Long: `create makes a token and prints its secret, alone on a line: keep it, since it is not to be had again. The scope read sees,
write also changes what is declared, and admin also hosts and tokens. With --namespace it is good for some namespaces only, and sees
nothing of what is the cluster's as a whole. Who may write in all namespaces can run a container that is root on its host; who may write
in some only is refused what gives the host away: hostNetwork, hostPath, hostPort, privileged, more capabilities, and a host in probes.

` + spreadHelp,
		Example: `  psctl token create ci --scope write -n shop --ttl 720h > ci.token
  PSCTL_TOKEN=@ci.token psctl --server https://host1:6443 --ca ca.pem get pods -n shop`,
		Args: usageArgs(cobra.ExactArgs(1), "what is the token's name? psctl token create NAME --scope read"),
		RunE: func(c *cobra.Command, args []string) error {
			if scope == "" {
				return usage("which scope? --scope read, write or admin")
			}
			if ttl != "" {
				if d, err := time.ParseDuration(ttl); err != nil || d <= 0 {
					return usage("--ttl %q: want a time span like 720h", ttl)
				}
			}
			body, err := json.Marshal(map[string]any{"name": args[0], "scope": scope, "namespaces": namespaces, "ttl": ttl})
			if err != nil {
				return err
			}
			api, err := p.client()
			if err != nil {
				return err
			}
			var t client.Token
			err = api.Into(c.Context(), client.Request{Method: http.MethodPost, Path: "/swarm/v1/tokens", Body: body,
				Query: url.Values{"cause": {p.why("psctl token create " + args[0])}}, Spread: &on.Spread}, &t)
			if err != nil {
				return unanswered(c.Context(), "create token "+args[0],
					"If it was, its secret is lost. Look first:  psctl token list; then  psctl token revoke "+args[0]+", and create it again", err)
			}
			until := "until it is revoked"
			if !t.Expires.IsZero() {
				until = "until " + p.clock(t.Expires)
			}
			p.note("token %s: scope %s in %s, good %s. This is its secret, shown once:", t.Name, t.Scope, cmp.Or(andWord(t.Namespaces), "all namespaces"), until)
			if err := p.printf("%s\n", t.Secret); err != nil {
				return err
			}
			return on.told(p, "")
		},
	}
	on.flags(c)
	p.causeFlag(c)
	c.Flags().StringVar(&scope, "scope", "", "read, write or admin")
	c.Flags().StringSliceVarP(&namespaces, "namespace", "n", nil, "namespaces that it is good for, with commas, or repeated (default: all)")
	c.Flags().StringVar(&ttl, "ttl", "", "how long it is good, such as 720h (default: until it is revoked)")
	_ = c.RegisterFlagCompletionFunc("scope", cobra.FixedCompletions([]string{"read", "write", "admin"}, cobra.ShellCompDirectiveNoFileComp))
	c.ValidArgsFunction = cobra.NoFileCompletions
	return c
}

func (p *program) tokenList() *cobra.Command {
	return tabled(p, &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List tokens, without their secrets",
		Long:    `list lists the tokens; -o json as [{"name", "scope", "namespaces", "created", "expires", "expired"}].`,
	}, "/swarm/v1/tokens", func(all []client.Token) error {
		if len(all) == 0 {
			p.note("no tokens")
			return nil
		}
		t := &table{header: []string{"NAME", "SCOPE", "NAMESPACES", "AGE", "GOOD UNTIL"}}
		for _, x := range all {
			until := "it is revoked"
			switch {
			case x.Expired:
				until = "expired " + age(x.Expires, p.now()) + " ago"
			case !x.Expires.IsZero():
				until = p.clock(x.Expires)
			}
			t.add(x.Name, x.Scope, cmp.Or(strings.Join(x.Namespaces, ","), "all"), age(x.Created, p.now()), until)
		}
		return t.write(p.out, false)
	})
}

func (p *program) tokenRevoke() *cobra.Command {
	var on spread
	c := &cobra.Command{
		Use:     "revoke NAME…",
		Aliases: []string{"rm", "delete"},
		Short:   "Revoke tokens for good",
		Long: `revoke ends tokens for good, on every host as soon as it hears of it, and with them whatever goes on by them, such as a watch.

` + spreadHelp,
		Args: usageArgs(cobra.MinimumNArgs(1), "revoke which token? psctl token list lists them"),
		RunE: func(c *cobra.Command, names []string) error {
			api, err := p.client()
			if err != nil {
				return err
			}
			var absent error // of which the others know nothing: what else is named is revoked all the same
			for _, name := range names {
				_, err := api.Do(c.Context(), client.Request{Method: http.MethodDelete, Path: "/swarm/v1/tokens" + client.Path(name),
					Query: url.Values{"cause": {p.why("psctl token revoke " + name)}}, Spread: &on.Spread})
				switch {
				case client.IsNotFound(err):
					absent = errors.Join(absent, notFound("no token %q: psctl token list lists them", name))
					continue
				case err != nil:
					return errors.Join(absent, unanswered(c.Context(), "revoke token "+name, againIsSafe, err))
				}
				if err := p.printf("token %s revoked\n", name); err != nil {
					return err
				}
			}
			return errors.Join(absent, on.told(p, ""))
		},
	}
	on.flags(c)
	p.causeFlag(c)
	c.ValidArgsFunction = func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		raw, err := p.ask(c.Context(), "/swarm/v1/tokens")
		all, err2 := readAs[[]client.Token]("tokens", raw)
		var names []string
		if err == nil && err2 == nil {
			for _, t := range all {
				names = append(names, t.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}
