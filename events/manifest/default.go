package manifest

import (
	"cmp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Default fills in what Kubernetes fills in, for the fields that are honoured, and takes out what says only what
// happens anyway (see table). Every way in uses it: manifests, API bodies, patches. It changes o in place, is the
// same done twice, and leaves objects of kinds that are not in Resources alone.
//
// Recorded objects are not defaulted when they are read: an agent of another version, with other defaults, must not
// see another object.
func Default(o Object) {
	if r, ok := Of(o); ok {
		o.GetObjectKind().SetGroupVersionKind(r.GroupVersionKind())
		clearNeutral(o)
		r.defaults(o)
	}
}

// set puts a value where there is none.
func set[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}

// or puts a value where there is the zero one.
func or[T comparable](p *T, v T) { *p = cmp.Or(*p, v) }

func defaultDeployment(d *appsv1.Deployment) {
	s := &d.Spec
	set(&s.Replicas, 1)
	set(&s.RevisionHistoryLimit, 10)
	set(&s.ProgressDeadlineSeconds, 600)
	or(&s.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType)
	if s.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		set(&s.Strategy.RollingUpdate, appsv1.RollingUpdateDeployment{})
		set(&s.Strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
		set(&s.Strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
	}
	defaultPod(&s.Template.Spec)
}

func defaultPod(p *corev1.PodSpec) {
	or(&p.RestartPolicy, corev1.RestartPolicyAlways)
	or(&p.DNSPolicy, corev1.DNSClusterFirst)
	set(&p.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	set(&p.SecurityContext, corev1.PodSecurityContext{})
	for i := range p.Volumes {
		v := &p.Volumes[i]
		if v.VolumeSource == (corev1.VolumeSource{}) {
			v.EmptyDir = &corev1.EmptyDirVolumeSource{}
		}
		if v.HostPath != nil {
			set(&v.HostPath.Type, corev1.HostPathUnset)
		}
		if v.Secret != nil {
			set(&v.Secret.DefaultMode, corev1.SecretVolumeSourceDefaultMode)
		}
		if v.ConfigMap != nil {
			set(&v.ConfigMap.DefaultMode, corev1.ConfigMapVolumeSourceDefaultMode)
		}
	}
	for i := range p.Containers {
		defaultContainer(&p.Containers[i])
	}
	for i := range p.InitContainers {
		defaultContainer(&p.InitContainers[i])
	}
}

func defaultContainer(c *corev1.Container) {
	or(&c.ImagePullPolicy, pullPolicy(c.Image))
	for i := range c.Ports {
		or(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			or(&e.ValueFrom.FieldRef.APIVersion, "v1")
		}
	}
	for _, p := range []*corev1.Probe{c.ReadinessProbe, c.LivenessProbe, c.StartupProbe} {
		if p == nil {
			continue
		}
		or(&p.TimeoutSeconds, 1)
		or(&p.PeriodSeconds, 10)
		or(&p.SuccessThreshold, 1)
		or(&p.FailureThreshold, 3)
		defaultHTTPGet(p.HTTPGet)
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		defaultHTTPGet(c.Lifecycle.PreStop.HTTPGet)
	}
}

func defaultHTTPGet(g *corev1.HTTPGetAction) {
	if g != nil {
		or(&g.Path, "/")
		or(&g.Scheme, corev1.URISchemeHTTP)
	}
}

// pullPolicy is Always for an image that is named by no tag or the tag "latest", and by no digest.
func pullPolicy(image string) corev1.PullPolicy {
	name, _, digest := strings.Cut(image, "@")
	_, tag, _ := strings.Cut(name[strings.LastIndexByte(name, '/')+1:], ":")
	if tag == "latest" || tag == "" && !digest {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func defaultService(s *corev1.Service) {
	or(&s.Spec.Type, corev1.ServiceTypeClusterIP)
	or(&s.Spec.SessionAffinity, corev1.ServiceAffinityNone)
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		set(&s.Spec.SessionAffinityConfig, corev1.SessionAffinityConfig{})
		set(&s.Spec.SessionAffinityConfig.ClientIP, corev1.ClientIPConfig{})
		set(&s.Spec.SessionAffinityConfig.ClientIP.TimeoutSeconds, corev1.DefaultClientIPServiceAffinitySeconds)
	}
	if s.Spec.Type != corev1.ServiceTypeExternalName {
		set(&s.Spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster)
	}
	switch {
	case s.Spec.Type == corev1.ServiceTypeLoadBalancer, s.Spec.Type == corev1.ServiceTypeNodePort,
		s.Spec.Type == corev1.ServiceTypeClusterIP && len(s.Spec.ExternalIPs) > 0:
		or(&s.Spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster)
	case s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyCluster:
		s.Spec.ExternalTrafficPolicy = "" // was filled in before a patch changed the type
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		set(&s.Spec.AllocateLoadBalancerNodePorts, true)
	} else if a := s.Spec.AllocateLoadBalancerNodePorts; a != nil && *a {
		s.Spec.AllocateLoadBalancerNodePorts = nil
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		or(&p.Protocol, corev1.ProtocolTCP)
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
}

// defaultIngress has nothing to fill in: pathType is required.
func defaultIngress(*networkingv1.Ingress) {}

func defaultNamespace(*corev1.Namespace) {}
