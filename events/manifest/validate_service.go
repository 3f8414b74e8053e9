package manifest

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The ports of hosts that a Service may be given, as Kubernetes has them unless told otherwise. Any other port of a host is its own.
const (
	FirstNodePort = 30000
	LastNodePort  = 32767
)

// hostPort names a port of the host as Kubernetes' messages do.
func hostPort(p corev1.ContainerPort) string {
	return fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort)
}

func validateService(svc, old *corev1.Service) field.ErrorList {
	var c checks
	s, path := &svc.Spec, field.NewPath("spec")
	oneOf(&c, path.Child("type"), s.Type, corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName,
		corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)
	headless := s.ClusterIP == corev1.ClusterIPNone
	if len(s.Ports) == 0 && !headless && s.Type != corev1.ServiceTypeExternalName {
		c.add(field.Required(path.Child("ports"), ""))
	}
	c.clusterIP(s, path)
	c.add(validateLabels(s.Selector, path.Child("selector"))...)
	c.affinity(s, path)
	c.servicePorts(s, path.Child("ports"))
	for i, ip := range s.ExternalIPs {
		c.ip(path.Child("externalIPs").Index(i), ip)
	}
	c.traffic(s, path)
	if s.LoadBalancerIP != "" {
		c.ip(path.Child("loadBalancerIP"), s.LoadBalancerIP)
	}
	for i, r := range s.LoadBalancerSourceRanges {
		c.add(utilvalidation.IsValidCIDR(path.Child("loadBalancerSourceRanges").Index(i), r)...)
	}
	if old != nil && old.Spec.ClusterIP != "" && s.ClusterIP != "" && s.ClusterIP != old.Spec.ClusterIP &&
		s.Type != corev1.ServiceTypeExternalName && old.Spec.Type != corev1.ServiceTypeExternalName {
		c.add(field.Invalid(path.Child("clusterIP"), s.ClusterIP, "field is immutable"))
	}
	return c.errs
}

// clusterIP checks the addresses of a Service and what the types without one must not have.
func (c *checks) clusterIP(s *corev1.ServiceSpec, path *field.Path) {
	at := path.Child("clusterIP")
	switch s.Type {
	case corev1.ServiceTypeExternalName:
		if s.ClusterIP != "" {
			c.add(field.Forbidden(at, "may not be set when `type` is 'ExternalName'"))
		}
		if s.ExternalName == "" {
			c.add(field.Required(path.Child("externalName"), ""))
		} else {
			c.msgs(path.Child("externalName"), s.ExternalName, utilvalidation.IsDNS1123Subdomain(s.ExternalName))
		}
		return
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort:
		if s.ClusterIP == corev1.ClusterIPNone {
			c.add(field.Invalid(at, s.ClusterIP, fmt.Sprintf("may not be set to 'None' for %s services", s.Type)))
		}
	}
	if s.ClusterIP != "" && s.ClusterIP != corev1.ClusterIPNone {
		c.ip(at, s.ClusterIP)
	}
	if len(s.ClusterIPs) > 0 && s.ClusterIPs[0] != s.ClusterIP {
		c.add(field.Invalid(path.Child("clusterIPs"), s.ClusterIPs, "first value must match `clusterIP`"))
	}
	for i, ip := range s.ClusterIPs {
		if ip != corev1.ClusterIPNone {
			c.ip(path.Child("clusterIPs").Index(i), ip)
		}
	}
}

func (c *checks) affinity(s *corev1.ServiceSpec, path *field.Path) {
	oneOf(c, path.Child("sessionAffinity"), s.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	at := path.Child("sessionAffinityConfig")
	config := s.SessionAffinityConfig
	if s.SessionAffinity == corev1.ServiceAffinityNone && config != nil {
		c.add(field.Forbidden(at, "must not be set when session affinity is None"))
	}
	if s.SessionAffinity == corev1.ServiceAffinityClientIP && config != nil && config.ClientIP != nil {
		if n := config.ClientIP.TimeoutSeconds; n != nil && (*n <= 0 || *n > 86400) {
			c.add(field.Invalid(at.Child("clientIP", "timeoutSeconds"), *n, "must be greater than 0 and less than 86400"))
		}
	}
}

// traffic checks the policies of which host and which replica takes a connection.
func (c *checks) traffic(s *corev1.ServiceSpec, path *field.Path) {
	if p := s.ExternalTrafficPolicy; p != "" {
		at := path.Child("externalTrafficPolicy")
		if s.Type != corev1.ServiceTypeNodePort && s.Type != corev1.ServiceTypeLoadBalancer && len(s.ExternalIPs) == 0 {
			c.add(field.Invalid(at, p, "may only be set for externally-accessible services"))
		} else {
			oneOf(c, at, p, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)
		}
	}
	if p := s.InternalTrafficPolicy; p != nil {
		oneOf(c, path.Child("internalTrafficPolicy"), *p,
			corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)
	}
}

func (c *checks) servicePorts(s *corev1.ServiceSpec, path *field.Path) {
	type number struct {
		Port     int32           `json:"port"`
		Protocol corev1.Protocol `json:"protocol"`
	}
	names, numbers, nodePorts := map[string]bool{}, map[number]bool{}, map[number]bool{}
	for i := range s.Ports {
		p, at := &s.Ports[i], path.Index(i)
		if p.Name == "" {
			if len(s.Ports) > 1 {
				c.add(field.Required(at.Child("name"), ""))
			}
		} else {
			c.msgs(at.Child("name"), p.Name, utilvalidation.IsDNS1123Label(p.Name))
			unique(c, names, at.Child("name"), p.Name)
		}
		c.port(at.Child("port"), p.Port)
		c.protocol(at.Child("protocol"), p.Protocol)
		if p.TargetPort.Type == intstr.String {
			c.msgs(at.Child("targetPort"), p.TargetPort.StrVal, utilvalidation.IsValidPortName(p.TargetPort.StrVal))
		} else if p.TargetPort.IntVal != p.Port { // else it is the default, and one complaint is enough
			c.port(at.Child("targetPort"), p.TargetPort.IntVal)
		}
		if a := p.AppProtocol; a != nil {
			c.msgs(at.Child("appProtocol"), *a, utilvalidation.IsQualifiedName(*a))
		}
		unique(c, numbers, at, number{p.Port, p.Protocol})
		if p.NodePort == 0 {
			continue
		}
		if p.NodePort < FirstNodePort || p.NodePort > LastNodePort { // it is taken from every host: 22, or the cluster's own, must not be
			c.add(field.Invalid(at.Child("nodePort"), p.NodePort, fmt.Sprintf("provided port is not in the valid range. The range of valid ports is %d-%d", FirstNodePort, LastNodePort)))
		}
		if s.Type == corev1.ServiceTypeClusterIP || s.Type == corev1.ServiceTypeExternalName {
			c.add(field.Forbidden(at.Child("nodePort"), fmt.Sprintf("may not be used when `type` is '%s'", s.Type)))
		}
		n := number{p.NodePort, p.Protocol}
		if nodePorts[n] {
			c.add(field.Duplicate(at.Child("nodePort"), p.NodePort))
		}
		nodePorts[n] = true
	}
}
