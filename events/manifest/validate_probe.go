package manifest

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// probes checks what a container is asked while it runs, and what is done before it is stopped, within grace.
func (c *checks) probes(k *corev1.Container, grace *int64, path *field.Path) {
	if p, at := k.ReadinessProbe, path.Child("readinessProbe"); p != nil {
		c.probe(p, at)
		if p.TerminationGracePeriodSeconds != nil {
			c.add(field.Invalid(at.Child("terminationGracePeriodSeconds"), *p.TerminationGracePeriodSeconds, "must not be set for readinessProbes"))
		}
	}
	c.killing(k.LivenessProbe, path.Child("livenessProbe"))
	c.killing(k.StartupProbe, path.Child("startupProbe"))
	if l := k.Lifecycle; l != nil && l.PreStop != nil {
		at := path.Child("lifecycle", "preStop")
		c.actions(at, corev1.ProbeHandler{Exec: l.PreStop.Exec, HTTPGet: l.PreStop.HTTPGet}, l.PreStop.Sleep)
		if s := l.PreStop.Sleep; s != nil && grace != nil && (s.Seconds < 0 || s.Seconds > *grace) {
			c.add(field.Invalid(at.Child("sleep", "seconds"), s.Seconds,
				fmt.Sprintf("must be non-negative and less than terminationGracePeriodSeconds (%d)", *grace)))
		}
	}
}

// killing checks a probe whose failure ends the container; nil is none.
func (c *checks) killing(p *corev1.Probe, path *field.Path) {
	if p == nil {
		return
	}
	c.probe(p, path)
	if p.SuccessThreshold != 1 {
		c.add(field.Invalid(path.Child("successThreshold"), p.SuccessThreshold, "must be 1"))
	}
	if n := p.TerminationGracePeriodSeconds; n != nil && *n <= 0 {
		c.add(field.Invalid(path.Child("terminationGracePeriodSeconds"), *n, "must be greater than 0"))
	}
}

func (c *checks) probe(p *corev1.Probe, path *field.Path) {
	if p.GRPC == nil { // which is refused
		c.actions(path, p.ProbeHandler, nil)
	}
	c.notNegative(path.Child("initialDelaySeconds"), int64(p.InitialDelaySeconds))
	c.notNegative(path.Child("timeoutSeconds"), int64(p.TimeoutSeconds))
	c.notNegative(path.Child("periodSeconds"), int64(p.PeriodSeconds))
	c.notNegative(path.Child("successThreshold"), int64(p.SuccessThreshold))
	c.notNegative(path.Child("failureThreshold"), int64(p.FailureThreshold))
}

// actions checks that there is exactly one thing to do, and what it is.
func (c *checks) actions(path *field.Path, h corev1.ProbeHandler, sleep *corev1.SleepAction) {
	first := true
	one := func(name string) (*field.Path, bool) {
		at, ok := path.Child(name), first
		if first = false; !ok {
			c.add(field.Forbidden(at, "may not specify more than 1 handler type"))
		}
		return at, ok
	}
	if h.Exec != nil {
		if at, ok := one("exec"); ok && len(h.Exec.Command) == 0 {
			c.add(field.Required(at.Child("command"), ""))
		}
	}
	if h.HTTPGet != nil {
		if at, ok := one("httpGet"); ok {
			c.httpGet(h.HTTPGet, at)
		}
	}
	if h.TCPSocket != nil {
		if at, ok := one("tcpSocket"); ok {
			c.portOrName(at.Child("port"), h.TCPSocket.Port)
		}
	}
	if sleep != nil {
		one("sleep")
	}
	if first {
		c.add(field.Required(path, "must specify a handler type"))
	}
}

func (c *checks) httpGet(g *corev1.HTTPGetAction, path *field.Path) {
	if g.Path == "" {
		c.add(field.Required(path.Child("path"), ""))
	}
	c.portOrName(path.Child("port"), g.Port)
	oneOf(c, path.Child("scheme"), g.Scheme, corev1.URISchemeHTTP, corev1.URISchemeHTTPS)
	for i, h := range g.HTTPHeaders {
		c.msgs(path.Child("httpHeaders").Index(i).Child("name"), h.Name, utilvalidation.IsHTTPHeaderName(h.Name))
	}
}

// portOrName checks a container's port, by number or by name.
func (c *checks) portOrName(path *field.Path, p intstr.IntOrString) {
	if p.Type == intstr.String {
		c.msgs(path, p.StrVal, utilvalidation.IsValidPortName(p.StrVal))
	} else {
		c.port(path, p.IntVal)
	}
}
