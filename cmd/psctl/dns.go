package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

const dnsAllowPath = "/api/v1/dns/whitelist"

func (p *program) dns() *cobra.Command {
	c := &cobra.Command{
		Use:   "dns allow|deny|list|on|off",
		Short: "Say which names outside of the cluster its containers can resolve",
		Long: `dns keeps the list of names outside of the cluster that its containers can resolve. Without a list they can resolve all. With one, any
other name does not exist for them; names of Services always do. An Ingress that leads to a Service of type ExternalName keeps to it as
well. An entry is a name, or *.NAME for all that are below one, however far, and not NAME itself. Every host keeps to the list, and every
change of it is an event: psctl history dnsallow/NAME.`,
		Example: `  psctl dns allow registry.example.com '*.debian.org'    # the first names begin the list
  psctl dns list
  psctl dns off                                          # all names again, and the list is kept`,
		RunE: func(*cobra.Command, []string) error {
			return usage("what of names? psctl dns allow NAME…, psctl dns deny NAME…, psctl dns list, psctl dns on, psctl dns off")
		},
	}
	c.AddCommand(p.dnsAllow(), p.dnsDeny(), p.dnsList(),
		p.dnsHolds("on", "Resolve names of the list only", true), p.dnsHolds("off", "Resolve all names, and keep the list for later", false))
	return c
}

func (p *program) dnsList() *cobra.Command {
	return tabled(p, &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the names that may be resolved",
		Long:    `list lists the entries; -o json as {"enabled": whether the list holds, "hosts": [NAME, …]}.`,
	}, dnsAllowPath, func(l client.DNSAllow) error {
		p.note("%s", holds(&l))
		if len(l.Hosts) == 0 {
			return nil
		}
		return p.printf("%s\n", strings.Join(l.Hosts, "\n"))
	})
}

// holds is what the list comes to.
func holds(l *client.DNSAllow) string {
	switch {
	case !l.Enabled && len(l.Hosts) == 0:
		return "there is no list: all names outside of the cluster are resolved"
	case !l.Enabled:
		return "the list does not hold (psctl dns on): all names outside of the cluster are resolved"
	case len(l.Hosts) == 0:
		return "the list is empty: no name outside of the cluster is resolved (psctl dns off: all are)"
	}
	return "of names outside of the cluster, these are resolved:"
}

func (p *program) dnsAllow() *cobra.Command {
	c := &cobra.Command{
		Use:   "allow NAME…",
		Short: "Put names on the list",
		Long: `allow puts names on the list: all of them, or none where one is wrong. The first names of all begin it: from then on no others are resolved.
-o json gives {"enabled", "hosts", "changed": false if they were there, "commit", "index"}.

` + spreadHelp,
		Args: usageArgs(cobra.MinimumNArgs(1), "allow which names? psctl dns allow example.com '*.example.com'"),
	}
	return p.dnsChange(c, func(names []string) (client.Request, error) {
		body, err := json.Marshal(map[string]any{"hosts": names})
		return client.Request{Method: http.MethodPost, Path: dnsAllowPath + "/hosts", Body: body}, err
	}, func(l *client.DNSAllow, names []string) string {
		if !l.Enabled {
			return fmt.Sprintf("%s on the list, which does not hold (psctl dns on): all names are resolved", andWord(names))
		}
		return andWord(names) + " allowed"
	})
}

func (p *program) dnsDeny() *cobra.Command {
	c := &cobra.Command{
		Use:     "deny NAME…",
		Aliases: []string{"rm", "remove"},
		Short:   "Take names off the list",
		Long: `deny takes entries off the list: all of them, or none where one is not on it. It goes on to hold, also with none left: then no name outside of the cluster is resolved. (psctl dns off ends that.)
-o json gives {"enabled", "hosts", "changed", "commit", "index"}.

` + spreadHelp,
		Args: usageArgs(cobra.MinimumNArgs(1), "deny which names? psctl dns list lists those that are allowed"),
	}
	c = p.dnsChange(c, func(names []string) (client.Request, error) {
		body, err := json.Marshal(map[string]any{"hosts": names})
		return client.Request{Method: http.MethodDelete, Path: dnsAllowPath + "/hosts", Body: body}, err
	}, func(l *client.DNSAllow, names []string) string {
		text := andWord(names) + " taken off the list"
		if !l.Enabled || len(l.Hosts) == 0 {
			text += ": " + holds(l)
		}
		return text
	})
	c.ValidArgsFunction = func(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		raw, err := p.ask(c.Context(), dnsAllowPath)
		l, err2 := readAs[client.DNSAllow]("the list of names", raw)
		if err != nil || err2 != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return l.Hosts, cobra.ShellCompDirectiveNoFileComp
	}
	return c
}

func (p *program) dnsHolds(use, short string, enabled bool) *cobra.Command {
	c := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  short + ". The entries stay as they are.\n\n" + spreadHelp,
		Args:  usageArgs(cobra.NoArgs, use+" takes no arguments"),
	}
	return p.dnsChange(c, func([]string) (client.Request, error) {
		body, err := json.Marshal(map[string]any{"enabled": enabled})
		return client.Request{Method: http.MethodPut, Path: dnsAllowPath, Body: body}, err
	}, func(l *client.DNSAllow, _ []string) string { return strings.TrimSuffix(holds(l), ":") })
}

// dnsChange is a command that changes the list by one request, and tells what it comes to.
func (p *program) dnsChange(c *cobra.Command, request func(names []string) (client.Request, error),
	tell func(l *client.DNSAllow, names []string) string) *cobra.Command {
	var on spread
	on.flags(c)
	p.causeFlag(c)
	form := output(c, asJSON, asYAML)
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.RunE = func(c *cobra.Command, names []string) error {
		what := strings.TrimSpace("psctl dns " + c.Name() + " " + strings.Join(names, " "))
		r, err := request(names)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		api, err := p.client()
		if err != nil {
			return err
		}
		r.Query, r.Spread = url.Values{"cause": {p.why(what)}}, &on.Spread
		raw, err := api.Do(c.Context(), r)
		if client.IsNotFound(err) {
			return notFound("%v: psctl dns list", err)
		} else if err != nil {
			return unanswered(c.Context(), strings.TrimPrefix(what, "psctl "), againIsSafe, err)
		}
		l, err := readAs[client.DNSAllow]("the list of names", raw)
		if err != nil {
			return err
		}
		if form.value != asTable {
			err = p.value(raw, form.value)
		} else {
			err = p.printf("%s\n", tell(&l, names))
		}
		if err != nil {
			return err
		}
		return on.told(p, "")
	}
	return c
}

// allowedName is the entry that arguments name as dnsallow/NAME, or dnsallow NAME.
func allowedName(args []string) (string, bool) {
	switch {
	case len(args) == 2 && args[0] == "dnsallow":
		return args[1], true
	case len(args) == 1 && strings.HasPrefix(args[0], "dnsallow/"):
		return strings.TrimPrefix(args[0], "dnsallow/"), true
	}
	return "", false
}
