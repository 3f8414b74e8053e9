package manifest

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Validate lists what is wrong with a defaulted object, in Kubernetes' own words: what Kubernetes refuses, and what
// this agent does not honour (see table). old is what it replaces, nil on create; on update, what must not change is
// held against it. uid and resourceVersion count only where the new object has them.
func Validate(o, old Object) field.ErrorList {
	r, ok := Of(o)
	if !ok {
		return field.ErrorList{field.Invalid(field.NewPath("kind"), fmt.Sprintf("%T", o), "this agent takes "+kinds())}
	}
	if old != nil {
		if was, _ := Of(old); was.Kind != r.Kind {
			return field.ErrorList{field.Invalid(field.NewPath("kind"), r.Kind, "replaces a "+was.Kind)}
		}
	}
	errs := refused(o)
	meta := field.NewPath("metadata")
	errs = append(errs, validation.ValidateObjectMetaAccessor(o, r.Namespaced, r.name, meta)...)
	if old != nil {
		errs = append(errs, validateReplaced(o, old, meta)...)
	}
	return append(errs, r.validate(o, old)...)
}

// validateReplaced holds the metadata against that of the object it replaces.
func validateReplaced(o, old Object, meta *field.Path) field.ErrorList {
	var errs field.ErrorList
	same := func(name, now, was string) {
		if now != was {
			errs = append(errs, field.Invalid(meta.Child(name), now, validation.FieldImmutableErrorMsg))
		}
	}
	same("name", o.GetName(), old.GetName())
	same("namespace", o.GetNamespace(), old.GetNamespace())
	if was := string(old.GetUID()); was != "" {
		same("uid", cmp.Or(string(o.GetUID()), was), was)
	}
	return errs
}

// checks gathers what is wrong under one path.
type checks struct {
	errs field.ErrorList
}

func (c *checks) add(errs ...*field.Error) { c.errs = append(c.errs, errs...) }

// msgs adds one Invalid for each message of a validation of apimachinery's.
func (c *checks) msgs(path *field.Path, value any, msgs []string) {
	for _, m := range msgs {
		c.add(field.Invalid(path, value, m))
	}
}

func (c *checks) notNegative(path *field.Path, n int64) {
	c.add(validation.ValidateNonnegativeField(n, path)...)
}

// port checks a port number that must be there.
func (c *checks) port(path *field.Path, n int32) {
	c.msgs(path, n, utilvalidation.IsValidPortNum(int(n)))
}

// ip checks an address that must be there.
func (c *checks) ip(path *field.Path, ip string) { c.add(utilvalidation.IsValidIP(path, ip)...) }

// oneOf checks a value that must be one of those listed.
func oneOf[T ~string](c *checks, path *field.Path, v T, of ...T) {
	for _, o := range of {
		if v == o {
			return
		}
	}
	c.add(field.NotSupported(path, v, of))
}

// unique reports a value that was seen before, and remembers it.
func unique[T comparable](c *checks, seen map[T]bool, path *field.Path, v T) {
	if seen[v] {
		c.add(field.Duplicate(path, v))
	}
	seen[v] = true
}

// protocol checks the protocol of a port.
func (c *checks) protocol(path *field.Path, p corev1.Protocol) {
	if p == "" {
		c.add(field.Required(path, ""))
		return
	}
	oneOf(c, path, p, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
}

// template checks labels and annotations of a template.
func (c *checks) template(path *field.Path, m metav1.ObjectMeta) {
	c.add(validateLabels(m.Labels, path.Child("labels"))...)
	c.add(validation.ValidateAnnotations(m.Annotations, path.Child("annotations"))...)
}

// share is how much of total an integer or a percentage is; up says how to round.
func share(v *intstr.IntOrString, total int, up bool) int {
	if v == nil {
		return 0
	}
	n, err := intstr.GetScaledValueFromIntOrPercent(v, total, up)
	if err != nil {
		return 0
	}
	return n
}

// intOrPercent checks an integer that is not negative, or a percentage.
func (c *checks) intOrPercent(path *field.Path, v *intstr.IntOrString) {
	switch {
	case v == nil:
	case v.Type == intstr.String:
		c.msgs(path, v, utilvalidation.IsValidPercent(v.StrVal))
	default:
		c.notNegative(path, int64(v.IntVal))
	}
}

// percent is the number before the sign, if v is a percentage.
func percent(v *intstr.IntOrString) (int, bool) {
	if v == nil || v.Type != intstr.String || len(utilvalidation.IsValidPercent(v.StrVal)) > 0 {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSuffix(v.StrVal, "%"))
	if err != nil {
		return math.MaxInt, true // too many digits for a number
	}
	return n, true
}

func validateNamespace(n, _ *corev1.Namespace) field.ErrorList {
	var c checks
	for i, f := range n.Spec.Finalizers {
		oneOf(&c, field.NewPath("spec", "finalizers").Index(i), f, corev1.FinalizerKubernetes)
	}
	return c.errs
}
