package manifest

import (
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateLabels(l map[string]string, path *field.Path) field.ErrorList {
	return metav1validation.ValidateLabels(l, path)
}

func validateDeployment(d, old *appsv1.Deployment) field.ErrorList {
	var c checks
	s, path := &d.Spec, field.NewPath("spec")
	if s.Replicas != nil {
		c.notNegative(path.Child("replicas"), int64(*s.Replicas))
	}
	c.selector(s, path)
	c.template(path.Child("template", "metadata"), s.Template.ObjectMeta)
	c.pod(&s.Template.Spec, path.Child("template", "spec"))
	if p := s.Template.Spec.RestartPolicy; p != corev1.RestartPolicyAlways {
		c.add(field.NotSupported(path.Child("template", "spec", "restartPolicy"), p,
			[]corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	c.strategy(&s.Strategy, path.Child("strategy"))
	c.notNegative(path.Child("minReadySeconds"), int64(s.MinReadySeconds))
	if s.RevisionHistoryLimit != nil {
		c.notNegative(path.Child("revisionHistoryLimit"), int64(*s.RevisionHistoryLimit))
	}
	if n := s.ProgressDeadlineSeconds; n != nil {
		c.notNegative(path.Child("progressDeadlineSeconds"), int64(*n))
		if *n <= s.MinReadySeconds {
			c.add(field.Invalid(path.Child("progressDeadlineSeconds"), *n, "must be greater than minReadySeconds"))
		}
	}
	if old != nil {
		c.add(validation.ValidateImmutableField(s.Selector, old.Spec.Selector, path.Child("selector"))...)
	}
	return c.errs
}

// selector checks that the selector is there and selects what the template makes.
func (c *checks) selector(s *appsv1.DeploymentSpec, path *field.Path) {
	at := path.Child("selector")
	if s.Selector == nil {
		c.add(field.Required(at, ""))
		return
	}
	c.add(metav1validation.ValidateLabelSelector(s.Selector, metav1validation.LabelSelectorValidationOptions{}, at)...)
	if len(s.Selector.MatchLabels)+len(s.Selector.MatchExpressions) == 0 {
		c.add(field.Invalid(at, s.Selector, "empty selector is invalid for deployment"))
	}
	selector, err := metav1.LabelSelectorAsSelector(s.Selector)
	if err != nil {
		c.add(field.Invalid(at, s.Selector, "invalid label selector"))
		return
	}
	if !selector.Empty() && !selector.Matches(labels.Set(s.Template.Labels)) {
		c.add(field.Invalid(path.Child("template", "metadata", "labels"), s.Template.Labels,
			"`selector` does not match template `labels`"))
	}
}

func (c *checks) strategy(s *appsv1.DeploymentStrategy, path *field.Path) {
	rolling := path.Child("rollingUpdate")
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			c.add(field.Forbidden(rolling, "may not be specified when strategy `type` is 'Recreate'"))
		}
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			c.add(field.Required(rolling, "this should be defaulted and never be nil"))
			return
		}
		down, up := s.RollingUpdate.MaxUnavailable, s.RollingUpdate.MaxSurge
		at := rolling.Child("maxUnavailable")
		c.intOrPercent(at, down)
		c.intOrPercent(rolling.Child("maxSurge"), up)
		// Of 100 replicas, every percentage but 0% is some.
		if share(down, 100, false) == 0 && share(up, 100, true) == 0 {
			c.add(field.Invalid(at, down, "may not be 0 when `maxSurge` is 0"))
		}
		if n, ok := percent(down); ok && n > 100 {
			c.add(field.Invalid(at, down, "must not be greater than 100%"))
		}
	default:
		oneOf(c, path.Child("type"), s.Type,
			appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType)
	}
}
