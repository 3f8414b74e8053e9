package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// mostCause is how many bytes of a cause the agent puts down: more it would cut off.
const mostCause = 500

// causeText is the value of --cause.
type causeText string

func (c *causeText) String() string { return string(*c) }

func (c *causeText) Type() string { return "text" }

// Set refuses what the log would not have as it was said.
func (c *causeText) Set(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return errors.New("want a text that says why, or leave it out")
	case len(text) > mostCause:
		return fmt.Errorf("want %d bytes at most, and these are %d", mostCause, len(text))
	case !utf8.ValidString(text):
		return errors.New("it is no UTF-8")
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !unicode.IsGraphic(r) }); i >= 0 {
		r, _ := utf8.DecodeRuneInString(text[i:])
		return fmt.Errorf("want text on one line, and byte %d of it is %U, which is no character to be seen", i+1, r)
	}
	*c = causeText(text)
	return nil
}

// causeFlag gives a command that changes something --cause.
func (p *program) causeFlag(c *cobra.Command) {
	c.Flags().Var(&p.cause, "cause", "why, for the log; without it the log has what was asked for")
}

// why is what the log is to say of why it was asked for: --cause, or else the command; of "" the agent has words of its own.
func (p *program) why(command string) string { return cmp.Or(string(p.cause), command) }
