package manifest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateConfigMap(m, old *corev1.ConfigMap) field.ErrorList {
	var c checks
	data, binary := field.NewPath("data"), field.NewPath("binaryData")
	size := 0
	for _, k := range slices.Sorted(maps.Keys(m.Data)) {
		size += len(m.Data[k])
		c.msgs(data.Key(k), k, utilvalidation.IsConfigMapKey(k))
	}
	for _, k := range slices.Sorted(maps.Keys(m.BinaryData)) {
		size += len(m.BinaryData[k])
		c.msgs(binary.Key(k), k, utilvalidation.IsConfigMapKey(k))
		if _, ok := m.Data[k]; ok {
			c.add(field.Invalid(binary.Key(k), k, "duplicate of key present in data"))
		}
	}
	if size > corev1.MaxSecretSize { // which is a ConfigMap's too
		largest := data
		if len(m.Data) == 0 {
			largest = binary
		}
		e := field.TooLong(largest, "", corev1.MaxSecretSize)
		e.Detail += fmt.Sprintf(" in data and binaryData together, and these are %d", size)
		c.add(e)
	}
	immutable := func(m *corev1.ConfigMap) bool { return m.Immutable != nil && *m.Immutable }
	if old == nil || !immutable(old) {
		return c.errs
	}
	fixed := func(path *field.Path, same bool) {
		if !same {
			c.add(field.Forbidden(path, "field is immutable when `immutable` is set: delete the ConfigMap first"))
		}
	}
	fixed(field.NewPath("immutable"), immutable(m))
	fixed(data, maps.Equal(m.Data, old.Data))
	fixed(binary, maps.EqualFunc(m.BinaryData, old.BinaryData, bytes.Equal))
	return c.errs
}
