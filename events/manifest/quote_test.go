package manifest

import (
	"strings"
	"testing"
)

// Whatever is wrong with the text of a manifest, a Secret's value is not quoted.
func TestParse_quotesNoSecret(t *testing.T) {
	const head = `{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": `
	const yaml = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n"
	for _, text := range []string{
		head + `{"a": "hunter2\ud800"}}`, head + `{"a": "hunter2\q"}}`, head + `{"a": hunter2}}`, head + `{"a": "hunter2}}`, head + `{"a": "hunter2", "a": "hunter2"}}`,
		head + `"hunter2"}`, head + `["hunter2"]}`, head + `{"a": {"b": "hunter2"}}}`, head + `{"a": "x"}, "type": "Opaque"} hunter2`,
		yaml + "  a: !!float hunter2\n", yaml + "  a: !!int hunter2\n", yaml + "  a: !!binary hunter2\n", yaml + "  a: !hunter2\n", yaml + "  a: !!timestamp hunter2\n", yaml + "  a: !!bool hunter2\n", yaml + "  a: !!null hunter2\n", yaml + "  a: *hunter2\n",
		yaml + "  a: \"hunter2\\q\"\n", yaml + "  a: \"hunter2\\ud800\"\n", yaml + "  a: 'hunter2\n", yaml + "  a: %hunter2\n", yaml + "  a: @hunter2\n", yaml + "  a: hunter2: x\n", yaml + "  a: &hunter2\n",
		yaml + "  hunter2\n", yaml + "  a: [hunter2\n", yaml + "  <<: hunter2\n", yaml + "  a: |9x hunter2\n", yaml + "  a: `hunter2`\n", yaml + "\ta: hunter2\n", yaml + "  a: \"hunter2\x01\"\n", yaml + "  a: hunter2\xff\n", yaml + "  a: ? hunter2\n",
	} {
		for name, f := range map[string]func() error{"Parse": func() error { _, err := Parse([]byte(text), ""); return err },
			"DecodeStrict": func() error { _, err := DecodeStrict([]byte(text)); return err }} {
			if err := f(); err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s of %q: got %v", name, strings.TrimPrefix(strings.TrimPrefix(text, head), yaml), err)
			}
		}
	}
}
