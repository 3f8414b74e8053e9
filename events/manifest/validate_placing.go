package manifest

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// placing checks what a pod says of the hosts that it may run on.
func (c *checks) placing(p *corev1.PodSpec, path *field.Path) {
	if a := p.Affinity; a != nil {
		at := path.Child("affinity")
		if a.NodeAffinity != nil {
			c.nodeAffinity(a.NodeAffinity, at.Child("nodeAffinity"))
		}
		if pa := a.PodAffinity; pa != nil {
			c.podAffinity(pa.RequiredDuringSchedulingIgnoredDuringExecution, pa.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAffinity"))
		}
		if pa := a.PodAntiAffinity; pa != nil {
			c.podAffinity(pa.RequiredDuringSchedulingIgnoredDuringExecution, pa.PreferredDuringSchedulingIgnoredDuringExecution, at.Child("podAntiAffinity"))
		}
	}
	for i := range p.Tolerations {
		c.toleration(&p.Tolerations[i], path.Child("tolerations").Index(i))
	}
	c.spread(p.TopologySpreadConstraints, path.Child("topologySpreadConstraints"))
}

const (
	required  = "requiredDuringSchedulingIgnoredDuringExecution"
	preferred = "preferredDuringSchedulingIgnoredDuringExecution"
)

func (c *checks) nodeAffinity(a *corev1.NodeAffinity, path *field.Path) {
	if r := a.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
		at := path.Child(required, "nodeSelectorTerms")
		if len(r.NodeSelectorTerms) == 0 {
			c.add(field.Required(at, "must have at least one node selector term"))
		}
		for i := range r.NodeSelectorTerms {
			c.nodeTerm(&r.NodeSelectorTerms[i], at.Index(i))
		}
	}
	for i := range a.PreferredDuringSchedulingIgnoredDuringExecution {
		t, at := &a.PreferredDuringSchedulingIgnoredDuringExecution[i], path.Child(preferred).Index(i)
		c.weight(t.Weight, at)
		c.nodeTerm(&t.Preference, at.Child("preference"))
	}
}

func (c *checks) weight(n int32, path *field.Path) {
	if n < 1 || n > 100 {
		c.add(field.Invalid(path.Child("weight"), n, "must be in the range 1-100"))
	}
}

func (c *checks) nodeTerm(t *corev1.NodeSelectorTerm, path *field.Path) {
	for i, r := range t.MatchExpressions {
		at := path.Child("matchExpressions").Index(i)
		c.labelKey(at.Child("key"), r.Key)
		c.nodeRequirement(&r, at)
	}
	for i, r := range t.MatchFields {
		at := path.Child("matchFields").Index(i)
		if r.Key != metav1.ObjectNameField {
			c.add(field.Invalid(at.Child("key"), r.Key, "not a valid field selector key"))
		}
		oneOf(c, at.Child("operator"), r.Operator, corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn)
		if len(r.Values) != 1 {
			c.add(field.Required(at.Child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"))
		}
	}
}

func (c *checks) nodeRequirement(r *corev1.NodeSelectorRequirement, path *field.Path) {
	values := path.Child("values")
	switch r.Operator {
	case corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn:
		if len(r.Values) == 0 {
			c.add(field.Required(values, "must be specified when `operator` is 'In' or 'NotIn'"))
		}
	case corev1.NodeSelectorOpExists, corev1.NodeSelectorOpDoesNotExist:
		if len(r.Values) > 0 {
			c.add(field.Forbidden(values, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"))
		}
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		if len(r.Values) != 1 {
			c.add(field.Required(values, "must be specified single value when `operator` is 'Lt' or 'Gt'"))
		}
	default:
		oneOf(c, path.Child("operator"), r.Operator, corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn, corev1.NodeSelectorOpExists,
			corev1.NodeSelectorOpDoesNotExist, corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt)
	}
}

func (c *checks) labelKey(path *field.Path, key string) {
	c.add(metav1validation.ValidateLabelName(key, path)...)
}

func (c *checks) podAffinity(must []corev1.PodAffinityTerm, liked []corev1.WeightedPodAffinityTerm, path *field.Path) {
	for i := range must {
		c.podTerm(&must[i], path.Child(required).Index(i))
	}
	for i := range liked {
		at := path.Child(preferred).Index(i)
		c.weight(liked[i].Weight, at)
		c.podTerm(&liked[i].PodAffinityTerm, at.Child("podAffinityTerm"))
	}
}

func (c *checks) podTerm(t *corev1.PodAffinityTerm, path *field.Path) {
	c.labelSelector(t.LabelSelector, path.Child("labelSelector"))
	for i, ns := range t.Namespaces {
		c.msgs(path.Child("namespaces").Index(i), ns, validation.ValidateNamespaceName(ns, false))
	}
	c.topologyKey(t.TopologyKey, path)
}

func (c *checks) labelSelector(s *metav1.LabelSelector, path *field.Path) {
	if s != nil {
		c.add(metav1validation.ValidateLabelSelector(s, metav1validation.LabelSelectorValidationOptions{}, path)...)
	}
}

func (c *checks) topologyKey(key string, path *field.Path) {
	if at := path.Child("topologyKey"); key == "" {
		c.add(field.Required(at, "can not be empty"))
	} else {
		c.labelKey(at, key)
	}
}

func (c *checks) toleration(t *corev1.Toleration, path *field.Path) {
	if t.Key != "" {
		c.labelKey(path.Child("key"), t.Key)
	} else if t.Operator != corev1.TolerationOpExists {
		c.add(field.Invalid(path.Child("operator"), t.Operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\""))
	}
	switch t.Operator {
	case "", corev1.TolerationOpEqual:
		c.msgs(path.Child("value"), t.Value, utilvalidation.IsValidLabelValue(t.Value))
	case corev1.TolerationOpExists:
		if t.Value != "" {
			c.add(field.Invalid(path.Child("value"), t.Value, "value must be empty when `operator` is 'Exists'"))
		}
	default:
		oneOf(c, path.Child("operator"), t.Operator, corev1.TolerationOpEqual, corev1.TolerationOpExists)
	}
	if t.Effect != "" {
		oneOf(c, path.Child("effect"), t.Effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)
	}
}

func (c *checks) spread(all []corev1.TopologySpreadConstraint, path *field.Path) {
	type pair struct {
		key  string
		when corev1.UnsatisfiableConstraintAction
	}
	var seen []pair
	for i := range all {
		t, at := &all[i], path.Index(i)
		if t.MaxSkew <= 0 {
			c.add(field.Invalid(at.Child("maxSkew"), t.MaxSkew, "must be greater than zero"))
		}
		c.topologyKey(t.TopologyKey, at)
		oneOf(c, at.Child("whenUnsatisfiable"), t.WhenUnsatisfiable, corev1.DoNotSchedule, corev1.ScheduleAnyway)
		c.labelSelector(t.LabelSelector, at.Child("labelSelector"))
		if p := (pair{t.TopologyKey, t.WhenUnsatisfiable}); slices.Contains(seen, p) {
			c.add(field.Duplicate(at, "{"+p.key+", "+string(p.when)+"}"))
		} else {
			seen = append(seen, p)
		}
	}
}
