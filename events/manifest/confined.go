package manifest

import (
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Unconfined lists what an object asks for that reaches beyond its containers, to the host and so to the whole cluster: what the level
// "baseline" of Kubernetes' Pod Security Standards refuses, of what is honoured here. who is who may not have it, for people.
func Unconfined(o Object, who string) field.ErrorList {
	d, ok := o.(*appsv1.Deployment)
	if !ok {
		return nil
	}
	var c checks
	no := func(path *field.Path, why string) { c.add(field.Forbidden(path, why+": not for "+who)) }
	p, path := &d.Spec.Template.Spec, field.NewPath("spec", "template", "spec")
	if p.HostNetwork {
		no(path.Child("hostNetwork"), "it shares the network of the host, and what listens there for the host alone")
	}
	for i := range p.Volumes {
		if p.Volumes[i].HostPath != nil {
			no(path.Child("volumes").Index(i).Child("hostPath"), "it reaches the files of the host")
		}
	}
	for i := range p.Containers {
		unconfined(&p.Containers[i], path.Child("containers").Index(i), no)
	}
	for i := range p.InitContainers {
		unconfined(&p.InitContainers[i], path.Child("initContainers").Index(i), no)
	}
	return c.errs
}

func unconfined(k *corev1.Container, path *field.Path, no func(*field.Path, string)) {
	for i, port := range k.Ports {
		if port.HostPort != 0 {
			no(path.Child("ports").Index(i).Child("hostPort"), "it takes a port of the host at which something else may be looked for")
		}
	}
	if s := k.SecurityContext; s != nil {
		at := path.Child("securityContext")
		if s.Privileged != nil && *s.Privileged {
			no(at.Child("privileged"), "it is root on the host")
		}
		if s.Capabilities != nil {
			for i, name := range s.Capabilities.Add {
				if !harmless(name) {
					no(at.Child("capabilities", "add").Index(i), string(name)+" can do more than a container has to")
				}
			}
		}
	}
	// The agent itself asks these, from where its own API is.
	asked := func(at *field.Path, h *corev1.LifecycleHandler) {
		if h.HTTPGet != nil && h.HTTPGet.Host != "" {
			no(at.Child("httpGet", "host"), "the agent would ask another than the container")
		}
		if h.TCPSocket != nil && h.TCPSocket.Host != "" {
			no(at.Child("tcpSocket", "host"), "the agent would ask another than the container")
		}
	}
	probe := func(name string, p *corev1.Probe) {
		if p != nil {
			asked(path.Child(name), &corev1.LifecycleHandler{HTTPGet: p.HTTPGet, TCPSocket: p.TCPSocket})
		}
	}
	probe("readinessProbe", k.ReadinessProbe)
	probe("livenessProbe", k.LivenessProbe)
	probe("startupProbe", k.StartupProbe)
	if k.Lifecycle != nil && k.Lifecycle.PreStop != nil {
		asked(path.Child("lifecycle", "preStop"), k.Lifecycle.PreStop)
	}
}

// harmless reports whether a container may be given the capability in Kubernetes' baseline, in whichever way Podman would take its name.
func harmless(name corev1.Capability) bool {
	return slices.Contains([]string{"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
		"SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}, strings.TrimPrefix(strings.ToUpper(string(name)), "CAP_"))
}
