package manifest

import (
	"fmt"
	"net/netip"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateIngress(ing, old *networkingv1.Ingress) field.ErrorList {
	var c checks
	s, path := &ing.Spec, field.NewPath("spec")
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		c.add(field.Invalid(path, s.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if s.DefaultBackend != nil {
		c.backend(s.DefaultBackend, path.Child("defaultBackend"))
	}
	for i := range s.Rules {
		c.rule(&s.Rules[i], path.Child("rules").Index(i))
	}
	for i, t := range s.TLS {
		at := path.Child("tls").Index(i)
		for j, h := range t.Hosts {
			c.host(at.Child("hosts").Index(j), h)
		}
		if t.SecretName != "" {
			c.msgs(at.Child("secretName"), t.SecretName, validation.NameIsDNSSubdomain(t.SecretName, false))
		}
	}
	if n := s.IngressClassName; n != nil {
		c.msgs(path.Child("ingressClassName"), *n, validation.NameIsDNSSubdomain(*n, false))
		const key = "kubernetes.io/ingress.class"
		if v, ok := ing.Annotations[key]; ok && v != *n && old == nil {
			c.add(field.Invalid(field.NewPath("metadata", "annotations").Key(key), v, "must match `ingressClassName` when both are specified"))
		}
	}
	return c.errs
}

// host checks a host name, which may begin with "*.".
func (c *checks) host(path *field.Path, host string) {
	if strings.Contains(host, "*") {
		c.msgs(path, host, utilvalidation.IsWildcardDNS1123Subdomain(host))
		return
	}
	c.msgs(path, host, utilvalidation.IsDNS1123Subdomain(host))
}

func (c *checks) rule(r *networkingv1.IngressRule, path *field.Path) {
	if r.Host != "" {
		if _, err := netip.ParseAddr(r.Host); err == nil {
			c.add(field.Invalid(path.Child("host"), r.Host, "must be a DNS name, not an IP address"))
		}
		c.host(path.Child("host"), r.Host)
	}
	if r.HTTP == nil {
		return
	}
	at := path.Child("http", "paths")
	if len(r.HTTP.Paths) == 0 {
		c.add(field.Required(at, ""))
	}
	for i := range r.HTTP.Paths {
		c.path(&r.HTTP.Paths[i], at.Index(i))
	}
}

func (c *checks) path(p *networkingv1.HTTPIngressPath, path *field.Path) {
	c.backend(&p.Backend, path.Child("backend"))
	if p.PathType == nil {
		c.add(field.Required(path.Child("pathType"), "pathType must be specified"))
		return
	}
	at := path.Child("path")
	absolute := strings.HasPrefix(p.Path, "/")
	switch *p.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		if !absolute {
			c.add(field.Invalid(at, p.Path, "must be an absolute path"))
		}
		for _, s := range []string{"//", "/./", "/../", "%2f", "%2F"} {
			if strings.Contains(p.Path, s) {
				c.add(field.Invalid(at, p.Path, fmt.Sprintf("must not contain '%s'", s)))
			}
		}
		for _, s := range []string{"/..", "/."} {
			if strings.HasSuffix(p.Path, s) {
				c.add(field.Invalid(at, p.Path, fmt.Sprintf("cannot end with '%s'", s)))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" && !absolute {
			c.add(field.Invalid(at, p.Path, "must be an absolute path"))
		}
	default:
		oneOf(c, path.Child("pathType"), *p.PathType, networkingv1.PathTypeExact,
			networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix)
	}
}

func (c *checks) backend(b *networkingv1.IngressBackend, path *field.Path) {
	switch {
	case b.Resource != nil && b.Service != nil:
		c.add(field.Invalid(path, "", "cannot set both resource and service backends"))
		return
	case b.Resource != nil:
		for _, part := range [][2]string{{"kind", b.Resource.Kind}, {"name", b.Resource.Name}} {
			if part[1] == "" {
				c.add(field.Required(path.Child("resource", part[0]), ""))
			}
		}
		return
	case b.Service == nil:
		c.add(field.Invalid(path, "", "resource or service backend is required"))
		return
	}
	at, s := path.Child("service"), b.Service
	if s.Name == "" {
		c.add(field.Required(at.Child("name"), ""))
	} else {
		c.msgs(at.Child("name"), s.Name, validation.NameIsDNS1035Label(s.Name, false))
	}
	switch {
	case s.Port.Name != "" && s.Port.Number != 0:
		c.add(field.Invalid(path, "", "cannot set both port name & port number"))
	case s.Port.Name != "":
		c.msgs(at.Child("port", "name"), s.Port.Name, utilvalidation.IsValidPortName(s.Port.Name))
	case s.Port.Number != 0:
		c.port(at.Child("port", "number"), s.Port.Number)
	default:
		c.add(field.Required(path, "port name or number is required"))
	}
}
