package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) nodes() *cobra.Command {
	var watch bool
	c := &cobra.Command{
		Use:        "nodes",
		Aliases:    []string{"hosts"},
		SuggestFor: []string{"members", "peers"},
		Short:      "List the hosts of the cluster: alive or since when not, how far behind, whether they agree",
		Long: `nodes lists the hosts as the asked one sees them. LAG is how many events it has and the other host lacks, or of the other's
own it lacks itself, and for how many seconds that has been so; of the asked host, how many of the others' it lacks, of each
its own. "?" instead of how many: a host has something of third hosts, and how much is not known. STATE says of a host that is not heard since when. CLOCK is how far its clock is from the asked
host's, and TRIP how long a message takes there and back.

-o json gives [{"host", "self", "address", "version", "state": "alive", "silent", "stopped", "down" or "removed", "since",
"why", "heard", "podman", "ready", "readonly", "cordoned", "draining", "cpus", "memory", "replicas", "running",
"lag_events", "lag_seconds": as in LAG, of every host; with 0 events above 0 where LAG has "?", "digest": "agrees", "differs at KEY" or "unknown", "agrees_since", "clock_offset_seconds",
"round_trip_seconds", "stuck"}]; with --watch, one such list a line.`,
		Example: `  psctl nodes
  psctl nodes -o wide --watch
  psctl nodes -o json | jq -r '.[] | select(.state != "alive") | .host'`,
		Args: usageArgs(cobra.NoArgs, "nodes takes no arguments: psctl nodes lists all, psctl describe node NAME one"),
	}
	form := output(c, asJSON, asYAML, asWide)
	c.Flags().BoolVarP(&watch, "watch", "w", false, "show them anew as they change, until interrupted")
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.RunE = func(c *cobra.Command, _ []string) error {
		text := func(raw []byte) (string, error) { return p.nodesText(raw, form.value == asWide) }
		return p.looked(c.Context(), "/swarm/v1/nodes", form.value, watch, text)
	}
	return c
}

// looked shows what is at path, once, or with watch again and again.
func (p *program) looked(ctx context.Context, path, form string, watch bool, text func(raw []byte) (string, error)) error {
	if watch && form == asYAML {
		return usage("--watch has no -o yaml: take -o json, which gives an answer a line")
	}
	if watch {
		return p.again(ctx, path, form, text)
	}
	raw, err := p.ask(ctx, path)
	if err != nil {
		return err
	}
	if form == asJSON || form == asYAML {
		return p.value(raw, form)
	}
	shown, err := text(raw)
	if err != nil {
		return err
	}
	return p.printf("%s", shown)
}

func (p *program) nodesText(raw []byte, wide bool) (string, error) {
	all, err := readAs[[]client.Host]("nodes", raw)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "no host has spoken of itself yet: the agent has just started, or looks for a cluster to join (psctl status)\n", nil
	}
	var b strings.Builder
	err = p.hostTable(all, wide).write(&b, false)
	return b.String(), err
}

// hostTable is a row for each host.
func (p *program) hostTable(all []client.Host, wide bool) *table {
	t := &table{header: []string{"NAME", "STATE", "REPLICAS", "LAG", "DIGEST", "CLOCK", "TRIP", "ADDRESS", "VERSION"}}
	if wide {
		t.header = append(t.header, "PODMAN", "CPUS", "MEMORY", "HEARD")
	}
	heard := slices.ContainsFunc(all, func(h client.Host) bool { return !h.Self && h.State == "alive" })
	for i := range all {
		h := &all[i]
		row := []string{h.Host, p.hostState(h), fmt.Sprintf("%d/%d", h.Running, h.Replicas), lag(h, heard), p.agreement(h),
			seconds(h.Offset, true), seconds(h.RoundTrip, false), h.Address, h.Version}
		if wide {
			last := ""
			if !h.Heard.IsZero() {
				last = age(h.Heard, p.now()) + " ago"
			}
			row = append(row, h.Podman, fmt.Sprint(h.CPUs), bytesText(h.Memory), last)
		}
		t.add(row...)
	}
	return t
}

// hostState is how a host is, in some words.
func (p *program) hostState(h *client.Host) string {
	words := []string{h.State}
	if !h.Since.IsZero() {
		words[0] += " " + age(h.Since, p.now())
	}
	switch {
	case h.Draining:
		words = append(words, "draining")
	case h.Cordoned:
		words = append(words, "cordoned")
	}
	if h.ReadOnly != "" {
		words = append(words, "read-only")
	}
	if h.State == "alive" && !h.Ready {
		words = append(words, "not ready")
	}
	if h.Stuck != "" {
		words = append(words, "see psctl status")
	}
	if h.Self {
		words = append(words, "asked")
	}
	return strings.Join(words, ", ")
}

// lag is how many events are not on both sides yet, and for how long; heard is whether the asked host hears any other.
func lag(h *client.Host, heard bool) string {
	switch {
	case h.Lag > 0:
		return fmt.Sprintf("%d (%.1f s)", h.Lag, h.Behind)
	case h.Behind > 0:
		return fmt.Sprintf("? (%.1f s)", h.Behind)
	case h.State != "alive" || h.Stuck != "" || h.Self && !heard:
		return "" // not known
	}
	return "0"
}

func (p *program) agreement(h *client.Host) string {
	if h.Digest == "agrees" && !h.Agrees.IsZero() {
		return "agrees since " + age(h.Agrees, p.now())
	}
	return h.Digest
}

// seconds is a short time as people read it, with its sign if it is an offset.
func seconds(s *float64, signed bool) string {
	if s == nil {
		return ""
	}
	d := time.Duration(*s * float64(time.Second))
	unit := time.Millisecond
	if d.Abs() < 10*time.Millisecond {
		unit = 10 * time.Microsecond
	}
	text := d.Round(unit).String()
	if signed && d > 0 {
		text = "+" + text
	}
	return text
}

// hostVerb is a command that does one thing with a host.
type hostVerb struct {
	verb, short, long, example, done, already string
	on                                        *spread
}

func (p *program) cordon() *cobra.Command {
	return p.hostCommand(hostVerb{"cordon", "Give a host no new replicas", `cordon has a host be given no new replicas; what runs there stays. uncordon ends it.`,
		"  psctl cordon host2", "is given no new replicas; what runs there stays", "was cordoned already", new(spread)})
}

func (p *program) uncordon() *cobra.Command {
	return p.hostCommand(hostVerb{"uncordon", "Give a host replicas again", `uncordon has a host be given replicas again, after cordon, drain, or node down where that was a mistake. Nothing moves back by
itself.`, "  psctl uncordon host2", "is given replicas again; nothing moves back by itself", "was not cordoned", new(spread)})
}

func (p *program) node() *cobra.Command {
	c := &cobra.Command{
		Use:   "node down|remove NAME",
		Short: "Say that a host is dead, or shut one out for good",
		RunE: func(*cobra.Command, []string) error {
			return usage("what of a node? psctl node down NAME, or psctl node remove NAME; psctl nodes lists them")
		},
	}
	down := p.hostCommand(hostVerb{"down", "Give your word that a host is dead: what it ran moves at once", `down is a person's word that a host which is silent is dead. What it ran moves at once, also where too few hosts are in
sight to decide that by themselves. If it is not dead, its replicas run twice until it is heard again; it then yields what
was moved. It is over when the host's agent has started again, or with uncordon.`,
		"  psctl node down host2", "is taken for dead: what it ran moves", "was taken for dead already", new(spread)})
	down.Use = "down NAME"
	var force bool
	on := new(spread)
	remove := p.hostCommand(hostVerb{"remove", "Shut a host out for good", `remove shuts a host out of the cluster for good: no other host speaks with it any more, and it cannot join again under its
name. What it recorded while it was a member stays. What it ran moves to other hosts.

It is refused of a host that is alive, which is to be drained and stopped first, and while less than a majority of the known
hosts is in sight, since the others may be alive beyond a split. --force does it all the same.`,
		"  psctl drain host2 && psctl node remove host2 --force\n  psctl node remove host2", "", "was removed already", on})
	remove.Use = "remove NAME"
	form := remove.Flags().Lookup("output").Value
	remove.Flags().BoolVar(&force, "force", false, "also a host that is alive, and without a majority in sight")
	remove.RunE = func(c *cobra.Command, args []string) error {
		q := url.Values{}
		if force {
			q.Set("force", "true")
		}
		host := hostName(args[0])
		changed, err := p.hostDo(c.Context(), host, "remove", "psctl node remove "+host, q, &on.Spread)
		if err != nil {
			return err
		}
		text := "node/%s is removed for good. If its machine still runs: stop the agent there " +
			"(systemctl disable --now podman-swarm-agent); containers that it leaves behind run on until somebody removes them.\n" +
			"To use the machine again, give its agent another --node-name and an empty --data-dir.\n"
		if !changed.Changed {
			text = "node/%s was removed already\n"
		}
		if form.String() != asTable {
			err = p.changed([]client.NodeChanged{changed}, form.String())
		} else {
			err = p.printf(text, host)
		}
		if err != nil {
			return err
		}
		return on.told(p, sameCommand)
	}
	c.AddCommand(down, remove)
	return c
}

// hostCommand is a command that does it with each host that is named.
func (p *program) hostCommand(v hostVerb) *cobra.Command {
	var form *format
	c := &cobra.Command{
		Use: v.verb + " NAME…", Short: v.short, Long: v.long + "\n\n" + spreadHelp + "\n\n" + changedHelp, Example: v.example,
		Args: usageArgs(cobra.MinimumNArgs(1), v.verb+" which host? psctl nodes lists them"),
		RunE: func(c *cobra.Command, hosts []string) (err error) {
			var absent error
			all := []client.NodeChanged{}
			if form.value != asTable {
				// Also what was done before one that failed.
				defer func() { err = errors.Join(p.changed(all, form.value), err) }()
			}
			for _, host := range hosts {
				host = hostName(host)
				changed, err := p.hostDo(c.Context(), host, v.verb, c.CommandPath()+" "+host, nil, &v.on.Spread)
				if bad := new(notFoundError); errors.As(err, &bad) {
					absent = errors.Join(absent, err)
					continue
				}
				if err != nil {
					return errors.Join(err, absent)
				}
				if all = append(all, changed); form.value != asTable {
					continue
				}
				text := v.done
				if !changed.Changed {
					text = v.already
				}
				if err := p.printf("node/%s %s\n", host, text); err != nil {
					return err
				}
			}
			return errors.Join(v.on.told(p, sameCommand), absent)
		},
	}
	form = output(c, asJSON, asYAML)
	v.on.flags(c)
	p.causeFlag(c)
	if v.verb == "down" || v.verb == "remove" { // one at a time
		c.Args = usageArgs(cobra.ExactArgs(1), v.verb+" which host? psctl nodes lists them; psctl node "+v.verb+" NAME")
	}
	c.ValidArgsFunction = p.completeHosts
	return c
}

// changedHelp is what --help says of -o.
const changedHelp = `-o json gives [{"host", "changed": false if it was so already, "commit", "index": of the last event of the change}].`

// changed writes what was done as JSON or YAML.
func (p *program) changed(all []client.NodeChanged, form string) error {
	raw, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("answer as JSON: %w", err)
	}
	return p.value(raw, form)
}

func (p *program) completeHosts(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.nameList(c.Context(), the("Node")), cobra.ShellCompDirectiveNoFileComp
}

// hostName is the host that an argument names: NAME, or node/NAME, as it stands in what psctl prints.
func hostName(arg string) string {
	return strings.TrimPrefix(strings.TrimPrefix(arg, "nodes/"), "node/")
}

// hostDo asks the agent to do it.
func (p *program) hostDo(ctx context.Context, host, verb, cause string, q url.Values, on *client.Spread) (client.NodeChanged, error) {
	var changed client.NodeChanged
	if host == "" {
		return changed, usage("\"\" is no host: psctl nodes lists them")
	}
	c, err := p.client()
	if err != nil {
		return changed, err
	}
	if q == nil {
		q = url.Values{}
	}
	q.Set("cause", p.why(cause))
	err = c.Into(ctx, client.Request{Method: http.MethodPost, Path: "/swarm/v1/nodes" + client.Path(host, verb), Query: q, Spread: on}, &changed)
	switch {
	case client.IsNotFound(err):
		return changed, notFound("no host %q: psctl nodes lists them", host)
	case err != nil:
		return changed, unanswered(ctx, strings.TrimPrefix(cmp.Or(cause, verb), "psctl "), againIsSafe, err)
	}
	return changed, nil
}
