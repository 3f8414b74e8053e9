package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// A cause is refused that the log would have otherwise than it was said.
func TestCause_whatIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 "want a text that says why, or leave it out",
		" \t":                              "want a text that says why, or leave it out",
		"two\nlines":                       "want text on one line, and byte 4 of it is U+000A, which is no character to be seen",
		"\x1b[31mred":                      "byte 1 of it is U+001B",
		"left \u202e to right":             "byte 6 of it is U+202E",
		"a\x7fb":                           "byte 2 of it is U+007F",
		"\xff":                             "it is no UTF-8",
		strings.Repeat("ä", mostCause/2+1): "want 500 bytes at most, and these are 502",
	} {
		var out, errs strings.Builder
		code := run(t.Context(), []string{"delete", "deploy/web", "--cause", text}, strings.NewReader(""), &out, &errs, func(string) string { return "" })
		if code != exitUsage || !strings.Contains(errs.String(), want) || !strings.Contains(errs.String(), "--cause") || strings.ContainsAny(errs.String(), "\x1b\u202e") {
			t.Errorf("%q: exit code %d: %s", text, code, &errs)
		}
	}
	for _, text := range []string{"CHG-1: für Ève, 100 %", strings.Repeat("ä", mostCause/2)} {
		if c := new(causeText); c.Set(text) != nil || c.String() != text {
			t.Errorf("%q is refused, or is %q", text, c)
		}
	}
}

// Whatever changes something takes a cause: all that can wait for other hosts, and what is done on one host alone. That it reaches the log
// testdata/cause.txtar sees, of each.
func TestCause_ofAllThatChangesSomething(t *testing.T) {
	alone := map[string]bool{"psctl backup create": true, "psctl backup prune": true, "psctl orphans adopt": true, "psctl orphans remove": true}
	script, err := os.ReadFile("testdata/cause.txtar")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var each func(c *cobra.Command)
	each = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			each(sub)
		}
		changes := c.Flags().Lookup("wait-for") != nil || alone[c.CommandPath()]
		if changes {
			n++
			said := regexp.MustCompile(`(?m)^exec ` + c.CommandPath() + ` .*--cause '(CHG-\d+: )`).FindSubmatch(script)
			if said == nil || !regexp.MustCompile(`(?m)^stdout '"(key|cause)":.*`+string(said[1])+`'$`).Match(script) {
				t.Errorf("%s: testdata/cause.txtar does not give it a --cause, or does not look for that in the log", c.CommandPath())
			}
		}
		if has := c.Flags().Lookup("cause") != nil; has != changes {
			t.Errorf("%s: takes --cause: %v, want %v", c.CommandPath(), has, changes)
		}
	}
	each((&program{}).root())
	if n < 20 {
		t.Errorf("%d commands that change something: the test does not find them", n)
	}
}
