package manifest

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func (c *checks) pod(p *corev1.PodSpec, path *field.Path) {
	volumes := c.volumes(p.Volumes, path.Child("volumes"))
	containers := path.Child("containers")
	if len(p.Containers) == 0 {
		c.add(field.Required(containers, ""))
	}
	all := &shared{names: map[string]bool{}, numbers: map[number]int{}, onHost: map[string]bool{}, inMemory: map[string]bool{}, parts: map[string][]string{}}
	for i := range p.Containers {
		all.container++
		c.container(&p.Containers[i], p, volumes, all, containers.Index(i))
	}
	for i := range p.InitContainers {
		all.container++
		at := path.Child("initContainers").Index(i)
		c.container(&p.InitContainers[i], p, volumes, all, at)
		c.initContainer(&p.InitContainers[i], at)
	}
	if n := p.TerminationGracePeriodSeconds; n != nil {
		c.notNegative(path.Child("terminationGracePeriodSeconds"), *n)
	}
	if p.Hostname != "" {
		c.msgs(path.Child("hostname"), p.Hostname, utilvalidation.IsDNS1123Label(p.Hostname))
	}
	c.add(validateLabels(p.NodeSelector, path.Child("nodeSelector"))...)
	c.placing(p, path)
	for i, a := range p.HostAliases {
		at := path.Child("hostAliases").Index(i)
		c.ip(at.Child("ip"), a.IP)
		for j, h := range a.Hostnames {
			c.msgs(at.Child("hostnames").Index(j), h, utilvalidation.IsDNS1123Subdomain(h))
		}
	}
	c.dns(p, path)
	if s := p.SecurityContext; s != nil {
		at := path.Child("securityContext")
		c.user(at, s.RunAsUser, s.RunAsGroup)
		for i, g := range s.SupplementalGroups {
			c.msgs(at.Child("supplementalGroups").Index(i), g, utilvalidation.IsValidGroupID(g))
		}
	}
}

func (c *checks) dns(p *corev1.PodSpec, path *field.Path) {
	oneOf(c, path.Child("dnsPolicy"), p.DNSPolicy,
		corev1.DNSClusterFirstWithHostNet, corev1.DNSClusterFirst, corev1.DNSDefault, corev1.DNSNone)
	at := path.Child("dnsConfig")
	if p.DNSPolicy == corev1.DNSNone {
		if p.DNSConfig == nil {
			c.add(field.Required(at, "must provide `dnsConfig` when `dnsPolicy` is None"))
			return
		}
		if len(p.DNSConfig.Nameservers) == 0 {
			c.add(field.Required(at.Child("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None"))
		}
	}
	if p.DNSConfig == nil {
		return
	}
	if n := len(p.DNSConfig.Nameservers); n > 3 {
		c.add(field.Invalid(at.Child("nameservers"), p.DNSConfig.Nameservers, "must not have more than 3 nameservers"))
	}
	for i, ip := range p.DNSConfig.Nameservers {
		c.ip(at.Child("nameservers").Index(i), ip)
	}
	if n := len(p.DNSConfig.Searches); n > 32 {
		c.add(field.Invalid(at.Child("searches"), p.DNSConfig.Searches, "must not have more than 32 search paths"))
	}
	for i, s := range p.DNSConfig.Searches {
		if s != "." {
			c.msgs(at.Child("searches").Index(i), s,
				utilvalidation.IsDNS1123SubdomainWithUnderscore(strings.TrimSuffix(s, ".")))
		}
	}
	for i, o := range p.DNSConfig.Options {
		if o.Name == "" {
			c.add(field.Required(at.Child("options").Index(i), "must not be empty"))
		}
	}
}

// volumes checks the volumes and returns them by name.
func (c *checks) volumes(vs []corev1.Volume, path *field.Path) map[string]*corev1.Volume {
	names, volumes := map[string]bool{}, map[string]*corev1.Volume{}
	for i := range vs {
		v, at := &vs[i], path.Index(i)
		if v.Name == "" {
			c.add(field.Required(at.Child("name"), ""))
		} else {
			c.msgs(at.Child("name"), v.Name, utilvalidation.IsDNS1123Label(v.Name))
			unique(c, names, at.Child("name"), v.Name)
			volumes[v.Name] = v
		}
		n := 0
		of := func(name string) *field.Path {
			if n++; n > 1 {
				c.add(field.Forbidden(at.Child(name), "may not specify more than 1 volume type"))
			}
			return at.Child(name)
		}
		if e := v.EmptyDir; e != nil {
			c.emptyDir(e, of("emptyDir"))
		}
		if h := v.HostPath; h != nil {
			c.hostPath(h, of("hostPath"))
		}
		if s := v.Secret; s != nil {
			at := of("secret")
			c.otherName(at.Child("secretName"), s.SecretName)
			c.files(s.DefaultMode, s.Items, at)
		}
		if m := v.ConfigMap; m != nil {
			at := of("configMap")
			c.otherName(at.Child("name"), m.Name)
			c.files(m.DefaultMode, m.Items, at)
		}
	}
	return volumes
}

func (c *checks) emptyDir(e *corev1.EmptyDirVolumeSource, path *field.Path) {
	oneOf(c, path.Child("medium"), e.Medium, corev1.StorageMediumDefault, corev1.StorageMediumMemory)
	switch limit := e.SizeLimit; {
	case limit == nil:
	case limit.Sign() < 0:
		c.add(field.Forbidden(path.Child("sizeLimit"), "SizeLimit field must be a valid resource quantity"))
	case e.Medium != corev1.StorageMediumMemory && limit.Sign() > 0:
		c.add(field.Forbidden(path.Child("sizeLimit"),
			"not supported yet by podman-swarm: only with medium Memory, since nothing would hold a folder on disk to it"))
	}
}

func (c *checks) hostPath(h *corev1.HostPathVolumeSource, path *field.Path) {
	if h.Path == "" {
		c.add(field.Required(path.Child("path"), ""))
		return
	}
	if slices.Contains(strings.Split(h.Path, "/"), "..") {
		c.add(field.Invalid(path.Child("path"), h.Path, "must not contain '..'"))
	}
	if !strings.HasPrefix(h.Path, "/") {
		c.add(field.Invalid(path.Child("path"), h.Path, "must be an absolute path"))
	}
	if h.Type != nil {
		oneOf(c, path.Child("type"), *h.Type, corev1.HostPathUnset, corev1.HostPathDirectory,
			corev1.HostPathDirectoryOrCreate, corev1.HostPathFile, corev1.HostPathFileOrCreate, corev1.HostPathSocket)
	}
}

// shared is what the containers of a pod have among them: each name, and each port, is of one.
type shared struct {
	container int // which one is looked at
	names     map[string]bool
	numbers   map[number]int // by which container
	onHost    map[string]bool
	inMemory  map[string]bool     // volumes that are mounted already, and subPath
	parts     map[string][]string // of emptyDirs: the subPaths that are mounted
}

// number is a port in the pod's network.
type number struct {
	port     int32
	protocol corev1.Protocol
}

// initContainer checks what an init container has not, as in Kubernetes, and that nothing is asked for that is not done.
func (c *checks) initContainer(k *corev1.Container, path *field.Path) {
	no := func(name string, set bool) {
		if set {
			c.add(field.Forbidden(path.Child(name), "may not be set for init containers"))
		}
	}
	no("lifecycle", k.Lifecycle != nil)
	no("livenessProbe", k.LivenessProbe != nil)
	no("readinessProbe", k.ReadinessProbe != nil)
	no("startupProbe", k.StartupProbe != nil)
	if len(k.Ports) > 0 {
		c.add(field.Forbidden(path.Child("ports"), "not supported yet by podman-swarm: those of an init container are published nowhere"))
	}
}

func (c *checks) container(k *corev1.Container, p *corev1.PodSpec, volumes map[string]*corev1.Volume, all *shared, path *field.Path) {
	unique(c, all.names, path.Child("name"), k.Name)
	if k.Name == "" {
		c.add(field.Required(path.Child("name"), ""))
	} else {
		c.msgs(path.Child("name"), k.Name, utilvalidation.IsDNS1123Label(k.Name))
	}
	switch {
	case k.Image == "":
		c.add(field.Required(path.Child("image"), ""))
	case k.Image != strings.TrimSpace(k.Image):
		c.add(field.Invalid(path.Child("image"), k.Image, "must not have leading or trailing whitespace"))
	}
	oneOf(c, path.Child("imagePullPolicy"), k.ImagePullPolicy, corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)
	c.ports(k.Ports, p.HostNetwork, all, path.Child("ports"))
	c.env(k, path)
	c.mounts(k.VolumeMounts, volumes, all, path.Child("volumeMounts"))
	c.resources(&k.Resources, path.Child("resources"))
	c.probes(k, p.TerminationGracePeriodSeconds, path)
	if s := k.SecurityContext; s != nil {
		c.securityContext(s, path.Child("securityContext"))
	}
}

func (c *checks) ports(ports []corev1.ContainerPort, hostNetwork bool, all *shared, path *field.Path) {
	names := map[string]bool{}
	for i, p := range ports {
		at := path.Index(i)
		if p.Name != "" {
			if msgs := utilvalidation.IsValidPortName(p.Name); len(msgs) > 0 {
				c.msgs(at.Child("name"), p.Name, msgs)
			} else {
				unique(c, names, at.Child("name"), p.Name)
			}
		}
		if p.ContainerPort == 0 {
			c.add(field.Required(at.Child("containerPort"), ""))
		} else {
			c.port(at.Child("containerPort"), p.ContainerPort)
			n := number{p.ContainerPort, p.Protocol}
			has := all.numbers[n]
			if has != 0 && (has != all.container || p.HostPort == 0) { // of a port that is published, several host ports may be
				c.add(field.Duplicate(at.Child("containerPort"), p.ContainerPort))
			}
			all.numbers[n] = all.container
		}
		c.protocol(at.Child("protocol"), p.Protocol)
		if p.HostIP != "" {
			c.ip(at.Child("hostIP"), p.HostIP)
		}
		if p.HostPort == 0 {
			continue
		}
		c.port(at.Child("hostPort"), p.HostPort)
		unique(c, all.onHost, at.Child("hostPort"), hostPort(p))
		if hostNetwork && p.HostPort != p.ContainerPort {
			c.add(field.Invalid(at.Child("containerPort"), p.ContainerPort, "must match `hostPort` when `hostNetwork` is true"))
		}
	}
}

func (c *checks) mounts(ms []corev1.VolumeMount, volumes map[string]*corev1.Volume, all *shared, at *field.Path) {
	seen := map[string]bool{}
	for i, m := range ms {
		p := at.Index(i)
		if m.Name == "" {
			c.add(field.Required(p.Child("name"), ""))
		} else if v := volumes[m.Name]; v == nil {
			c.add(field.NotFound(p.Child("name"), m.Name))
		} else if e := v.EmptyDir; e != nil && e.Medium == corev1.StorageMediumMemory {
			if name := m.Name + "/" + path.Clean(m.SubPath); all.inMemory[name] {
				c.add(field.Forbidden(p.Child("name"), "not supported yet by podman-swarm: a volume with medium Memory is mounted "+
					"once, since a second mount would be another one"))
			} else {
				all.inMemory[name] = true
			}
		}
		c.subPath(m, volumes[m.Name], all, p.Child("subPath"))
		switch {
		case m.MountPath == "":
			c.add(field.Required(p.Child("mountPath"), ""))
			continue
		case !strings.HasPrefix(m.MountPath, "/") || strings.Contains(m.MountPath, ":"):
			c.add(field.Invalid(p.Child("mountPath"), m.MountPath, "must be an absolute path without ':'"))
		}
		clean := path.Clean(m.MountPath)
		if seen[clean] {
			c.add(field.Invalid(p.Child("mountPath"), m.MountPath, "must be unique"))
		}
		seen[clean] = true
	}
}

func (c *checks) resources(r *corev1.ResourceRequirements, path *field.Path) {
	list := func(name string, l corev1.ResourceList) *field.Path {
		at := path.Child(name)
		for _, k := range sortedKeys(l) {
			q := l[k]
			if k != corev1.ResourceCPU && k != corev1.ResourceMemory {
				c.add(field.Forbidden(at.Key(string(k)), "not supported yet by podman-swarm: only cpu and memory are"))
			} else if q.Sign() < 0 {
				c.add(field.Invalid(at.Key(string(k)), q.String(), validation.IsNegativeErrorMsg))
			}
		}
		return at
	}
	list("limits", r.Limits)
	requests := list("requests", r.Requests)
	for _, k := range sortedKeys(r.Requests) {
		q := r.Requests[k]
		if limit, ok := r.Limits[k]; ok && q.Cmp(limit) > 0 {
			c.add(field.Invalid(requests, q.String(), "must be less than or equal to "+string(k)+" limit of "+limit.String()))
		}
	}
}

func sortedKeys(l corev1.ResourceList) []corev1.ResourceName {
	var ks []corev1.ResourceName
	for k := range l {
		ks = append(ks, k)
	}
	slices.Sort(ks)
	return ks
}

func (c *checks) securityContext(s *corev1.SecurityContext, path *field.Path) {
	c.user(path, s.RunAsUser, s.RunAsGroup)
	if s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
		return
	}
	at := path // Kubernetes blames the whole, too
	if s.Privileged != nil && *s.Privileged {
		c.add(field.Invalid(at, s, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"))
	}
	if s.Capabilities != nil && slices.Contains(s.Capabilities.Add, "CAP_SYS_ADMIN") {
		c.add(field.Invalid(at, s, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"))
	}
}

func (c *checks) user(path *field.Path, user, group *int64) {
	if user != nil {
		c.msgs(path.Child("runAsUser"), *user, utilvalidation.IsValidUserID(*user))
	}
	if group != nil {
		c.msgs(path.Child("runAsGroup"), *group, utilvalidation.IsValidGroupID(*group))
	}
}
