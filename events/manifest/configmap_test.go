package manifest

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func configMap(t *testing.T, more string) *corev1.ConfigMap {
	t.Helper()
	return one(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: app}\n"+more).(*corev1.ConfigMap)
}

// What is said to be immutable is changed by nobody but who deletes it first: no value, and not that it is immutable. Its labels are no part of that.
func TestConfigMap_immutable(t *testing.T) {
	fixed := configMap(t, "immutable: true\ndata: {a: x}\nbinaryData: {b: eA==}\n")
	const why = "field is immutable when `immutable` is set: delete the ConfigMap first"
	for more, want := range map[string]string{
		"immutable: true\ndata: {a: x}\nbinaryData: {b: eA==}\n":            "",
		"immutable: true\ndata: {a: z}\nbinaryData: {b: eA==}\n":            "data: Forbidden: " + why,
		"immutable: true\ndata: {a: x, c: z}\nbinaryData: {b: eA==}\n":      "data: Forbidden: " + why,
		"immutable: true\nbinaryData: {b: eA==}\n":                          "data: Forbidden: " + why,
		"immutable: true\ndata: {a: x}\nbinaryData: {b: eQ==}\n":            "binaryData: Forbidden: " + why,
		"immutable: true\ndata: {a: x}\n":                                   "binaryData: Forbidden: " + why,
		"immutable: false\ndata: {a: x}\nbinaryData: {b: eA==}\n":           "immutable: Forbidden: " + why,
		"data: {a: x}\nbinaryData: {b: eA==}\n":                             "immutable: Forbidden: " + why,
		"immutable: true\ndata: {a: x}\nbinaryData: {b: eA==, c: \"\"}\n\n": "binaryData: Forbidden: " + why,
	} {
		o := configMap(t, more)
		o.Labels = map[string]string{"of": "it"}
		errs := Validate(o, fixed)
		if len(errs) == 0 && want == "" {
			continue
		}
		if len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("%q: got %v, want %s", more, errs, want)
		}
	}
	for _, open := range []string{"data: {a: x}\n", "immutable: false\ndata: {a: x}\n"} {
		if errs := Validate(configMap(t, "immutable: true\ndata: {a: z}\n"), configMap(t, open)); len(errs) > 0 {
			t.Errorf("over %q: %v", open, errs)
		}
	}
	empty := configMap(t, "immutable: true\n")
	if errs := Validate(configMap(t, "immutable: true\ndata: {}\nbinaryData: {}\n"), empty); len(errs) > 0 {
		t.Errorf("nothing, written another way: %v", errs)
	}
}

// 1 MiB in all, whichever of the two holds it.
func TestConfigMap_size(t *testing.T) {
	const most = corev1.MaxSecretSize
	for _, c := range []struct {
		data, binary int
		want         string
	}{
		{most, 0, ""}, {0, most, ""}, {most / 2, most / 2, ""},
		{most + 1, 0, "data"}, {0, most + 1, "binaryData"}, {most / 2, most/2 + 1, "data"},
	} {
		o := configMap(t, "\n")
		if c.data > 0 {
			o.Data = map[string]string{"a": strings.Repeat("x", c.data-1), "b": "x"}
		}
		if c.binary > 0 {
			o.BinaryData = map[string][]byte{"c": make([]byte, c.binary)}
		}
		errs := Validate(o, nil)
		if len(errs) == 0 && c.want == "" {
			continue
		}
		if want := c.want + ": Too long: may not be more than 1048576 bytes in data and binaryData together, and these are 1048577"; len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("%d and %d bytes: got %v, want %q", c.data, c.binary, errs, c.want)
		}
	}
}

// What says the same another way is the same, and is recorded by the same bytes.
func TestConfigMap_same(t *testing.T) {
	base := configMap(t, "data: {a: x}\n")
	if o := configMap(t, "data: {a: x}\nbinaryData: {}\n"); !Same(base, o) || encoded(t, base) != encoded(t, o) {
		t.Errorf("got %s, want the same as %s", encoded(t, o), encoded(t, base))
	}
	for _, more := range []string{"data: {a: z}\n", "data: {a: x, b: \"\"}\n", "binaryData: {a: eA==}\n", "data: {a: x}\nimmutable: true\n", "\n"} {
		if Same(base, configMap(t, more)) {
			t.Errorf("with %q the same", more)
		}
	}
}
