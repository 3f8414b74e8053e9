package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// The forms of output. json, yaml and name are interfaces that scripts rely on; tables are for people and may change.
const (
	asTable = ""
	asWide  = "wide"
	asName  = "name"
	asJSON  = "json"
	asYAML  = "yaml"
)

// format is the value of -o, held to the forms that a command has.
type format struct {
	value string
	forms []string
}

func (f *format) String() string { return f.value }

func (f *format) Type() string { return "form" }

func (f *format) Set(s string) error {
	if !slices.Contains(f.forms, s) {
		return fmt.Errorf("want %s", orWord(f.forms))
	}
	f.value = s
	return nil
}

// orWord is "a", "a or b", "a, b or c".
func orWord(all []string) string {
	s := ""
	for i, a := range all {
		switch i {
		case 0:
		case len(all) - 1:
			s += " or "
		default:
			s += ", "
		}
		s += a
	}
	return s
}

// output gives the command a flag -o of these forms.
func output(c *cobra.Command, forms ...string) *format {
	f := &format{forms: forms}
	c.Flags().VarP(f, "output", "o", "form of output: "+orWord(forms))
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(forms, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return f
}

// value writes JSON as the agent gave it, or as YAML, whose fields are in alphabetical order.
func (p *program) value(raw []byte, form string) error {
	if form == asYAML {
		b, err := yaml.JSONToYAML(raw)
		if err != nil {
			return fmt.Errorf("answer as YAML: %w", err)
		}
		_, err = p.out.Write(b)
		return err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, bytes.TrimSpace(raw), "", "  "); err != nil {
		return fmt.Errorf("answer as JSON: %w", err)
	}
	b.WriteByte('\n')
	_, err := p.out.Write(b.Bytes())
	return err
}

// list is the JSON of several objects, as kubectl gives it too.
func list(items []json.RawMessage) ([]byte, error) {
	if items == nil {
		items = []json.RawMessage{}
	}
	return json.Marshal(struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}{"v1", "List", items})
}

// typed puts apiVersion and kind in front of an object that lacks them, as the items of a typed list may.
func typed(k kind, raw json.RawMessage) (json.RawMessage, error) {
	var has struct {
		Kind string `json:"kind"`
	}
	if err := json.Unmarshal(raw, &has); err != nil {
		return nil, fmt.Errorf("read a %s: %w", k.singular, err)
	}
	raw = bytes.TrimSpace(raw)
	if has.Kind != "" || len(raw) < 2 || raw[0] != '{' {
		return raw, nil
	}
	head := fmt.Sprintf(`{"apiVersion":%q,"kind":%q`, k.apiVersion(), k.Kind)
	if string(bytes.TrimSpace(raw[1:])) == "}" {
		return json.RawMessage(head + "}"), nil
	}
	return append(json.RawMessage(head+","), raw[1:]...), nil
}
