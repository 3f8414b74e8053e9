package main

import (
	"encoding/json"
	"time"

	"github.com/spf13/cobra"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) versionCommand() *cobra.Command {
	var own bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of psctl and of the agent",
		Long: `version prints the versions of psctl and of the agent, -o json as {"client": …, "server": …}. When the agent does not
answer, that of psctl is printed all the same and the exit code is 3.`,
		Args: usageArgs(cobra.NoArgs, "version takes no arguments"),
	}
	form := output(c, asJSON, asYAML)
	c.Flags().BoolVar(&own, "client", false, "only that of psctl; nothing is asked of the agent")
	c.ValidArgsFunction = cobra.NoFileCompletions
	c.RunE = func(c *cobra.Command, _ []string) error {
		answer := struct {
			Client string `json:"client"`
			Server string `json:"server,omitempty"`
		}{Client: version}
		var err error
		if !own {
			var agent client.Status
			var cl *client.Client
			if cl, err = p.client(); err != nil {
				return err
			}
			err = cl.Get(c.Context(), "/swarm/v1/status", nil, &agent)
			answer.Server = agent.Version
		}
		if form.value != asTable {
			raw, e := json.Marshal(answer)
			if e != nil {
				return e
			}
			if e := p.value(raw, form.value); e != nil {
				return e
			}
			return err
		}
		if e := p.printf("psctl  %s\n", answer.Client); e != nil {
			return e
		}
		if answer.Server == "" {
			return err
		}
		return p.printf("agent  %s\n", answer.Server)
	}
	return c
}

// clock is a time as people read it: with the day when that is not today.
func (p *program) clock(t time.Time) string {
	now := p.now()
	t = t.In(now.Location())
	if t.Format(time.DateOnly) == now.Format(time.DateOnly) {
		return t.Format(time.TimeOnly)
	}
	return t.Format(time.DateTime)
}
