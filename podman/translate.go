package podman

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// pod is a placement's template, read.
type pod struct {
	placed   *projection.Placed
	labels   map[string]string // of the pod
	notes    map[string]string // its annotations
	spec     corev1.PodSpec
	of       string            // name of the container that this is about; "" for the first
	one      *corev1.Container // that container
	security corev1.SecurityContext
	folder   string                                                                     // where the files of its volumes stand
	exec     bool                                                                       // they can be executed, also where /run is mounted noexec, as by Debian: only root can have that mounted so
	values   func(s source, optional *bool) (data, binary map[string][]byte, err error) // as Reconciler.valuesOf; nil: this is not about what it takes of others
}

// readPod reads the recorded template as it is about one container: the first for "". It was checked, and defaults were
// filled in, by whatever version recorded it; what that version did not fill in has the meaning that no value has in Kubernetes.
func readPod(placed *projection.Placed, of string) (*pod, error) {
	var t corev1.PodTemplateSpec
	if err := json.Unmarshal(placed.Template, &t); err != nil {
		return nil, fmt.Errorf("read the pod template: %w", err)
	}
	p := &pod{placed: placed, labels: t.Labels, notes: t.Annotations, spec: t.Spec, of: of}
	if p.one = containerOf(&p.spec, of); p.one == nil {
		return nil, errors.New(strings.TrimSpace("the pod template has no container " + of))
	}
	if s := p.one.SecurityContext; s != nil {
		p.security = *s
	}
	if s := p.spec.SecurityContext; s != nil { // what the container itself says wins
		p.security.RunAsUser = cmp.Or(p.security.RunAsUser, s.RunAsUser)
		p.security.RunAsGroup = cmp.Or(p.security.RunAsGroup, s.RunAsGroup)
		p.security.RunAsNonRoot = cmp.Or(p.security.RunAsNonRoot, s.RunAsNonRoot)
	}
	return p, nil
}

// containerOf is the container of that name, init containers included, or the first for ""; nil: there is none.
func containerOf(spec *corev1.PodSpec, of string) *corev1.Container {
	for i := range spec.Containers {
		if of == "" || spec.Containers[i].Name == of {
			return &spec.Containers[i]
		}
	}
	for i := range spec.InitContainers {
		if spec.InitContainers[i].Name == of {
			return &spec.InitContainers[i]
		}
	}
	return nil
}

// ports are those that the container publishes: the first does it for all, whose network is its own.
func (p *pod) ports() (all []corev1.ContainerPort) {
	if p.of != "" {
		return nil
	}
	for i := range p.spec.Containers {
		all = append(all, p.spec.Containers[i].Ports...)
	}
	return all
}

func is(b *bool) bool { return b != nil && *b }

// pull is the image pull policy.
func (p *pod) pull() corev1.PullPolicy {
	if p.one.ImagePullPolicy != "" {
		return p.one.ImagePullPolicy
	}
	return corev1.PullIfNotPresent
}

// grace is how long the program may take to end by itself.
func (p *pod) grace() time.Duration {
	if n := p.spec.TerminationGracePeriodSeconds; n != nil {
		return time.Duration(min(*n, math.MaxInt32)) * time.Second // more would overflow, here or in Podman
	}
	return corev1.DefaultTerminationGracePeriodSeconds * time.Second
}

// translate is the container that the pod asks for, but for what is chosen at the last moment: its name, its host
// ports. Nothing on the host is looked at or changed; what the container takes of other objects is looked up.
func (p *pod) translate(own owner, image Image) (*Spec, error) {
	s := &Spec{
		Image:            p.one.Image,
		Labels:           maps.Clone(p.labels),
		RestartPolicy:    "no",
		StopTimeout:      uint(p.grace() / time.Second),
		WorkDir:          p.one.WorkingDir,
		CreateWorkingDir: p.one.WorkingDir != "",
		Resources:        p.resources(),
	}
	if s.Labels == nil {
		s.Labels = map[string]string{}
	}
	maps.Copy(s.Labels, own.labels(p.placed))
	delete(s.Labels, LabelContainer) // a pod's own labels are no word of ours
	delete(s.Labels, LabelNetwork)
	if p.of != "" {
		s.Labels[LabelContainer] = p.of
	}
	switch text, err := p.preStop(); {
	case err != nil:
		return nil, err
	case text != "":
		s.Labels[LabelPreStop] = text
	default:
		delete(s.Labels, LabelPreStop)
	}
	if err := p.command(s); err != nil {
		return nil, err
	}
	p.network(s)
	if err := p.mounts(s); err != nil {
		return nil, err
	}
	return s, p.secure(s, image)
}

// command fills in environment, command and arguments.
func (p *pod) command(s *Spec) (err error) {
	if s.Env, err = p.environment(); err != nil {
		return err
	}
	value := func(name string) (string, bool) {
		v, ok := s.Env[name]
		return v, ok
	}
	for _, c := range p.one.Command {
		s.Entrypoint = append(s.Entrypoint, expand(c, value))
	}
	for _, a := range p.one.Args {
		s.Command = append(s.Command, expand(a, value))
	}
	return nil
}

// network fills in host name, network and what is in /etc/hosts.
func (p *pod) network(s *Spec) {
	if p.spec.HostNetwork {
		s.NetNS, s.UTSNS = &Namespace{Mode: "host"}, &Namespace{Mode: "host"}
	} else {
		s.Hostname = p.spec.Hostname
		if s.Hostname == "" {
			s.Hostname = p.placed.Pod.Name()
		}
		if len(s.Hostname) > 63 {
			s.Hostname = strings.TrimRight(s.Hostname[:63], "-.")
		}
	}
	for _, a := range p.spec.HostAliases {
		for _, name := range a.Hostnames {
			s.HostAdd = append(s.HostAdd, name+":"+a.IP)
		}
	}
}

// mounts fills in volumes and mounts.
func (p *pod) mounts(s *Spec) error {
	for _, m := range p.one.VolumeMounts {
		v := p.volume(m.Name)
		mode := "rw"
		if m.ReadOnly {
			mode = "ro"
		}
		switch {
		case v == nil:
			return fmt.Errorf("volume mount %q names no volume", m.Name)
		case v.HostPath != nil:
			s.Mounts = append(s.Mounts, Mount{"bind", hostPath(v.HostPath.Path, m.SubPath), m.MountPath, []string{"rbind", mode}})
		case v.Secret != nil, v.ConfigMap != nil:
			options := []string{"rbind", "ro"}
			if p.exec {
				options = append(options, "exec")
			}
			s.Mounts = append(s.Mounts, Mount{"bind", p.bound(&m), m.MountPath, options})
		case v.EmptyDir != nil && v.EmptyDir.Medium == corev1.StorageMediumMemory:
			options := []string{mode, "mode=1777", "nosuid", "nodev"}
			if limit := v.EmptyDir.SizeLimit; limit != nil && limit.Sign() > 0 {
				options = append(options, "size="+strconv.FormatInt(limit.Value(), 10))
			}
			s.Mounts = append(s.Mounts, Mount{"tmpfs", "tmpfs", m.MountPath, options})
		case v.EmptyDir != nil:
			// It begins empty, whatever the image has at that path.
			s.Volumes = append(s.Volumes, NamedVolume{p.emptyDir(&m), m.MountPath, []string{mode, "nocopy"}})
		default:
			return fmt.Errorf("volume %q is of a sort that this agent does not know", v.Name)
		}
	}
	return nil
}

// secure fills in whom the program runs as, and what it may do.
func (p *pod) secure(s *Spec, image Image) error {
	c := p.security
	user, group, _ := strings.Cut(image.User, ":")
	if c.RunAsUser != nil {
		user, group = strconv.FormatInt(*c.RunAsUser, 10), ""
	}
	if c.RunAsGroup != nil {
		group = strconv.FormatInt(*c.RunAsGroup, 10)
	}
	if is(c.RunAsNonRoot) {
		switch n, err := strconv.Atoi(user); {
		case user == "" || user == "root" || err == nil && n == 0:
			return errors.New("container has runAsNonRoot and would run as root")
		case err != nil:
			return fmt.Errorf("container has runAsNonRoot and the image's user %q is a name: whether that is root cannot be known", user)
		}
	}
	if c.RunAsUser != nil || c.RunAsGroup != nil {
		if s.User = user; user == "" {
			s.User = "0"
		}
		if group != "" {
			s.User += ":" + group
		}
	}
	if pod := p.spec.SecurityContext; pod != nil {
		for _, g := range pod.SupplementalGroups {
			s.Groups = append(s.Groups, strconv.FormatInt(g, 10))
		}
	}
	if c.Capabilities != nil {
		s.CapAdd, s.CapDrop = capabilities(c.Capabilities.Add), capabilities(c.Capabilities.Drop)
	}
	s.Privileged = is(c.Privileged)
	s.NoNewPrivileges = c.AllowPrivilegeEscalation != nil && !*c.AllowPrivilegeEscalation
	s.ReadOnlyFilesystem = is(c.ReadOnlyRootFilesystem)
	return nil
}

// capabilities gives names as Podman has them: CAP_NET_ADMIN for NET_ADMIN, and ALL.
func capabilities(names []corev1.Capability) []string {
	var all []string
	for _, n := range names {
		name := strings.ToUpper(string(n))
		if name != "ALL" && !strings.HasPrefix(name, "CAP_") {
			name = "CAP_" + name
		}
		all = append(all, name)
	}
	return all
}

// resources are the limits, and what requests mean to the kernel; nil for none.
func (p *pod) resources() *Resources {
	var r Resources
	limits, requests := p.one.Resources.Limits, p.one.Resources.Requests
	if limit := limits.Memory().Value(); limit > 0 {
		r.Memory = &Memory{Limit: limit, Swap: limit} // no swap beside it, as in Kubernetes
	}
	if request := requests.Memory().Value(); request > 0 {
		if r.Memory == nil {
			r.Memory = &Memory{}
		}
		r.Memory.Reservation = request
	}
	const period = 100_000 // microseconds
	if limit := limits.Cpu().MilliValue(); limit > 0 {
		r.CPU = &CPU{Quota: max(1000, limit*period/1000), Period: period} // the kernel takes no less than 1 ms
	}
	request := requests.Cpu().MilliValue()
	if request == 0 {
		request = limits.Cpu().MilliValue() // a request that is not made is the limit, as in Kubernetes
	}
	if request > 0 {
		if r.CPU == nil {
			r.CPU = &CPU{}
		}
		r.CPU.Shares = uint64(max(2, request*1024/1000))
	}
	if r.Memory == nil && r.CPU == nil {
		return nil
	}
	return &r
}
