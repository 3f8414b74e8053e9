package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"
)

func (p *program) completion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what completes psctl's command lines in a shell",
		Long: `completion prints what completes psctl's command lines in a shell: commands, flags, kinds, and names as the agent has them.
In bash it needs the package bash-completion.`,
		Example: `  psctl completion bash > /etc/bash_completion.d/psctl
  psctl completion zsh > "${fpath[1]}/_psctl"
  psctl completion fish > ~/.config/fish/completions/psctl.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args: usageArgs(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
			"completion for which shell? One of bash, zsh and fish"),
		RunE: func(c *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(p.out, true)
			case "zsh":
				return c.Root().GenZshCompletion(p.out)
			}
			return c.Root().GenFishCompletion(p.out, true)
		},
	}
}

// completeObjects completes KIND NAME and KIND/NAME: of any kind, or of those that people declare; several names or
// one. Names are asked of the agent; when it does not answer, none are offered.
func (p *program) completeObjects(any, one bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		const no = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 && !strings.Contains(args[0], "/") {
			k, err := kindOf(args[0])
			if err != nil || one && len(args) > 1 {
				return nil, no
			}
			return p.nameList(c.Context(), k), no
		}
		if word, _, ok := strings.Cut(begun, "/"); ok {
			k, err := kindOf(word)
			if err != nil {
				return nil, no
			}
			var all []string
			for _, n := range p.nameList(c.Context(), k) {
				all = append(all, word+"/"+n)
			}
			return all, no
		}
		if len(args) > 0 {
			return nil, no
		}
		var all []string
		for _, k := range kinds() {
			if any || k.declared {
				all = append(all, k.plural)
			}
		}
		return all, no
	}
}

// completeNamed completes one KIND/NAME of that kind, or where bare is set the names of pods too.
func (p *program) completeNamed(word string, bare bool) cobra.CompletionFunc {
	return func(c *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		const no = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 {
			return nil, no
		}
		k, err := kindOf(word)
		if err != nil {
			return nil, no
		}
		var all []string
		for _, n := range p.nameList(c.Context(), k) {
			all = append(all, k.singular+"/"+n)
		}
		if bare {
			all = append(p.nameList(c.Context(), the("Pod")), all...)
		}
		return all, no
	}
}

func (p *program) completeNamespace(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return p.nameList(c.Context(), the("Namespace")), cobra.ShellCompDirectiveNoFileComp
}

func (p *program) nameList(ctx context.Context, k kind) []string {
	c, err := p.client()
	if err != nil {
		return nil
	}
	names, err := p.namesOf(ctx, c, k)
	if err != nil {
		return nil
	}
	return names
}
