package main

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

// spreadHelp is what --help says of --wait-for.
const spreadHelp = `Other hosts get a change from the asked one at once. --wait-for N returns when N hosts have it on disk, the asked one
included, and --wait-for all when all have that are known, be they silent or stopped; but for those that are said to be dead
(psctl node down), which are named. When --wait-timeout is over it says which have not, and ends with exit code 6: the change
stands, and they get it as soon as they are in reach.`

// spread is --wait-for and --wait-timeout.
type spread struct{ client.Spread }

func (s *spread) flags(c *cobra.Command) {
	c.Flags().StringVar(&s.WaitFor, "wait-for", "", "wait until so many hosts have it on disk: a number, or all")
	c.Flags().DurationVar(&s.Timeout, "wait-timeout", 30*time.Second, "how long to --wait-for hosts")
	_ = c.RegisterFlagCompletionFunc("wait-for", cobra.FixedCompletions([]string{"all"}, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	check := c.PreRunE
	c.PreRunE = func(c *cobra.Command, args []string) error {
		n, err := strconv.Atoi(s.WaitFor)
		switch {
		case s.WaitFor == "" && c.Flags().Changed("wait-timeout"):
			return usage("--wait-timeout says how long to --wait-for hosts")
		case s.WaitFor == "" && c.Flags().Changed("wait-for"), s.WaitFor != "" && s.WaitFor != "all" && (err != nil || n < 1):
			return usage("--wait-for %q: want a number of hosts, the asked one included, or all", s.WaitFor)
		case s.Timeout <= 0:
			return usage("--wait-timeout %v: want a time span like 30s", s.Timeout)
		case check != nil:
			return check(c, args)
		}
		return nil
	}
}

// told says which hosts have what was changed on disk; the error is that too few have. again is the command by which to wait
// on, if it can be given again.
func (s *spread) told(p *program, again string) error {
	have := map[string]int{}
	var missing, dead []string
	why, unknown := "", false
	for _, d := range s.OnDisk {
		for _, host := range d.Have {
			have[host]++
		}
		dead = append(dead, d.Dead...)
		if !d.Enough {
			missing, why, unknown = append(missing, d.Missing...), d.Why, unknown || d.Have == nil
		}
	}
	if len(s.OnDisk) == 0 {
		return nil
	}
	var on []string
	for host, n := range have {
		if n == len(s.OnDisk) {
			on = append(on, host)
		}
	}
	slices.Sort(on)
	if dead = unique(dead); len(dead) > 0 {
		p.note("not waited for: %s, said to be dead", andWord(dead))
	}
	switch {
	case unknown:
		return &notSpreadError{"the change is made and stands, on disk of the asked host; that agent cannot tell which others have it"}
	case why != "":
		text := fmt.Sprintf("the change is made and stands. It is on disk of %s, and not yet known to be on disk of %s: %s\n"+
			"They get it as soon as they are in reach. To see how:  psctl status", andWord(on), orNobody(unique(missing)), why)
		if again != "" {
			text += "\nTo wait on:  " + again + ", which changes nothing more"
		}
		return &notSpreadError{text}
	}
	p.note("on disk of %s", andWord(on))
	return nil
}

// unique are the names, each once, in order.
func unique(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func orNobody(hosts []string) string {
	if len(hosts) == 0 {
		return "others"
	}
	return andWord(hosts)
}

// sameCommand is how to wait on after a command that changes nothing when it is given again.
const sameCommand = "the same command again"

// before is told, and then follows what is waited for besides, whose error goes first.
func (s *spread) before(p *program, again string, follow func() error) error {
	few := s.told(p, again)
	if few != nil {
		p.note("psctl: %v", few)
	}
	if err := follow(); err != nil || few == nil {
		return err
	}
	return &notSpreadError{"the rest is done; on which hosts the change is not yet is said above"}
}
