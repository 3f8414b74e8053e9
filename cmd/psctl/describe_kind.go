package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) describeDeployment(ctx context.Context, c *client.Client, g *page, raw json.RawMessage) error {
	var d appsv1.Deployment
	if err := json.Unmarshal(raw, &d); err != nil {
		return err
	}
	st := d.Status
	g.line("Selector", metav1.FormatLabelSelector(d.Spec.Selector))
	g.line("Replicas", fmt.Sprintf("%d wanted, %d there, %d updated, %d ready, %d available",
		wanted(&d), st.Replicas, st.UpdatedReplicas, st.ReadyReplicas, st.AvailableReplicas))
	g.line("Strategy", strategy(&d.Spec.Strategy))
	for _, cond := range st.Conditions {
		g.line(string(cond.Type), strings.TrimSuffix(fmt.Sprintf("%s, %s: %s", cond.Status, cond.Reason, cond.Message), ": "))
	}
	containers(g, &d.Spec.Template.Spec)
	pods, err := podsOf(ctx, c, &d)
	if err != nil {
		return err
	}
	var rows []string
	for i := range pods {
		r := podRow(&pods[i], p.now())
		rows = append(rows, strings.Join(r.cells, "\t"))
	}
	if len(rows) > 0 {
		rows = append([]string{strings.Join(the("Pod").header, "\t")}, rows...)
	}
	g.below("Pods", rows)
	p.describeHeld(ctx, c, g, pods)
	return nil
}

// describeHeld says what keeps pods from being ready, with the last lines of their logs.
func (p *program) describeHeld(ctx context.Context, c *client.Client, g *page, pods []corev1.Pod) {
	w := &waiter{program: p, c: c}
	var rows []string
	for i := range pods {
		for _, h := range heldUp(&pods[i]) {
			h.logs = h.logs && c.At == "" // what it writes now says nothing of then
			rows = append(rows, strings.Split(strings.TrimSpace(w.describe(ctx, pods[i].Namespace, h)), "\n")...)
		}
	}
	g.below("Held up", rows)
}

func strategy(s *appsv1.DeploymentStrategy) string {
	text := string(s.Type)
	if r := s.RollingUpdate; r != nil {
		if r.MaxSurge != nil {
			text += ", at most " + r.MaxSurge.String() + " more than wanted"
		}
		if r.MaxUnavailable != nil {
			text += ", at most " + r.MaxUnavailable.String() + " fewer"
		}
	}
	return text
}

// containerWord is how one of several containers is doing.
func containerWord(s *corev1.ContainerStatus) string {
	switch {
	case s.State.Waiting != nil:
		return s.State.Waiting.Reason + led(": ", oneLine(s.State.Waiting.Message, 200))
	case s.State.Terminated != nil:
		return s.State.Terminated.Reason
	case s.State.Running != nil && !s.Ready:
		return "runs, and is not ready"
	case s.State.Running != nil:
		return "runs"
	}
	return ""
}

// containers adds what is to run.
func containers(g *page, spec *corev1.PodSpec) {
	g.lines("Node selector", pairs(spec.NodeSelector))
	for i, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		var rows []string
		row := func(name, value string) {
			if value != "" {
				rows = append(rows, name+":\t"+value)
			}
		}
		row("image", c.Image)
		row("command", strings.Join(c.Command, " "))
		row("args", strings.Join(c.Args, " "))
		for _, port := range c.Ports {
			text := strconv.Itoa(int(port.ContainerPort)) + "/" + protocol(port.Protocol)
			if port.Name != "" {
				text += " (" + port.Name + ")"
			}
			if port.HostPort != 0 {
				text += " on port " + strconv.Itoa(int(port.HostPort)) + " of the host"
			}
			row("port", text)
		}
		for _, e := range c.EnvFrom {
			row("env", e.Prefix+"* of "+envFrom(&e))
		}
		for _, e := range c.Env {
			row("env", e.Name+valueText(&e))
		}
		for _, name := range slices.Sorted(maps.Keys(c.Resources.Limits)) {
			q := c.Resources.Limits[name]
			row("limit", string(name)+" "+q.String())
		}
		for _, m := range c.VolumeMounts {
			row("mount", m.MountPath+" from "+path.Join(m.Name, m.SubPath)+led(" of ", volumeOf(spec, m.Name)))
		}
		kind := "Container "
		if i < len(spec.InitContainers) {
			kind = "Init container "
		}
		g.below(kind+c.Name, rows)
	}
}

// volumeOf is the object whose files a volume has, as it is declared; "" for a volume of another sort.
func volumeOf(spec *corev1.PodSpec, name string) string {
	for _, v := range spec.Volumes {
		switch {
		case v.Name != name:
		case v.Secret != nil:
			return "Secret " + v.Secret.SecretName + optionally(v.Secret.Optional)
		case v.ConfigMap != nil:
			return "ConfigMap " + v.ConfigMap.Name + optionally(v.ConfigMap.Optional)
		}
	}
	return ""
}

// envFrom is what a container has all variables of, as it is declared.
func envFrom(f *corev1.EnvFromSource) string {
	if s := f.SecretRef; s != nil {
		return "Secret " + s.Name + optionally(s.Optional)
	}
	if m := f.ConfigMapRef; m != nil {
		return "ConfigMap " + m.Name + optionally(m.Optional)
	}
	return "?"
}

// valueText is a variable's value, or where it is from, as it is declared.
func valueText(e *corev1.EnvVar) string {
	switch v := e.ValueFrom; {
	case v == nil:
		return "=" + e.Value
	case v.SecretKeyRef != nil:
		return ": " + v.SecretKeyRef.Key + " of Secret " + v.SecretKeyRef.Name + optionally(v.SecretKeyRef.Optional)
	case v.ConfigMapKeyRef != nil:
		return ": " + v.ConfigMapKeyRef.Key + " of ConfigMap " + v.ConfigMapKeyRef.Name + optionally(v.ConfigMapKeyRef.Optional)
	case v.FieldRef != nil:
		return ": " + v.FieldRef.FieldPath
	}
	return ": ?"
}

func optionally(optional *bool) string {
	if optional != nil && *optional {
		return ", if there"
	}
	return ""
}

func (p *program) describePod(ctx context.Context, c *client.Client, g *page, raw json.RawMessage) error {
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		return err
	}
	for _, o := range pod.OwnerReferences {
		g.line("Of", labelOf(o.Name, o.Kind))
	}
	status, message := podState(&pod)
	g.line("Node", pod.Spec.NodeName)
	g.line("Status", status+led(": ", message))
	g.line("IP", pod.Status.PodIP)
	g.line("Ports", hostPorts(&pod))
	all := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for _, s := range all {
		if len(all) > 1 {
			g.line("Container", s.Name+led(": ", containerWord(&s)))
		}
		g.line("Container ID", s.ContainerID)
		g.line("Image ID", s.ImageID)
		g.line("Restarts", strconv.Itoa(int(s.RestartCount)))
		if s.State.Running != nil {
			g.line("Running since", p.since(s.State.Running.StartedAt.Time))
		}
		if t := s.LastTerminationState.Terminated; t != nil {
			g.line("Last run", ended(t)+led(", ended ", p.since(t.FinishedAt.Time)))
		}
	}
	containers(g, &pod.Spec)
	p.describeHeld(ctx, c, g, []corev1.Pod{pod})
	return nil
}

func (p *program) describeService(ctx context.Context, c *client.Client, g *page, raw json.RawMessage) error {
	var s corev1.Service
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	g.line("Type", string(s.Spec.Type))
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		g.line("Stands for", s.Spec.ExternalName)
	}
	g.line("IP", s.Spec.ClusterIP)
	g.line("Selector", labelText(s.Spec.Selector))
	var ports []string
	for _, port := range s.Spec.Ports {
		text := strconv.Itoa(int(port.Port)) + "/" + protocol(port.Protocol) + " to " + port.TargetPort.String()
		if port.Name != "" {
			text += " (" + port.Name + ")"
		}
		if port.NodePort != 0 {
			text += ", on port " + strconv.Itoa(int(port.NodePort)) + " of each host"
		}
		ports = append(ports, text)
	}
	g.lines("Ports", ports)
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
		g.line("Affinity", "a client stays with its replica")
	}
	g.line("Names", headlessNote(&s))
	f, err := found(ctx, c, s.Namespace, s.Name)
	if err == nil {
		g.line("Not resolved", f.Refused)
		g.lines("Not as asked", f.Unmet)
		describeFound(g, f)
	}
	if len(s.Spec.Selector) == 0 || s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	var l corev1.PodList
	q := map[string][]string{"labelSelector": {labelText(s.Spec.Selector)}}
	if err := c.Get(ctx, the("Pod").list(s.Namespace), q, &l); err != nil {
		return err
	}
	var rows []string
	for i := range l.Items {
		status, _ := podState(&l.Items[i])
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s", l.Items[i].Name, status, l.Items[i].Spec.NodeName, hostPorts(&l.Items[i])))
	}
	if len(rows) == 0 {
		rows = []string{"none: no pod in namespace " + s.Namespace + " has the labels of the selector"}
	}
	g.below("Pods behind it", rows)
	return nil
}

// headlessNote says where the names of a headless Service's replicas lead; "" of another Service, and of one whose endpoints are given by hand.
func headlessNote(s *corev1.Service) string {
	if s.Spec.ClusterIP != corev1.ClusterIPNone || len(s.Spec.Selector) == 0 {
		return ""
	}
	note := "a replica on another host is at that host's address and published port, which its SRV record tells; who takes A records and the container's port reaches replicas on the same host alone"
	if len(s.Spec.Ports) == 0 || slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == "" }) {
		note += "; only a port that has a name has SRV records"
	}
	return note
}

func (p *program) describeIngress(ctx context.Context, c *client.Client, g *page, raw json.RawMessage) error {
	var i networkingv1.Ingress
	if err := json.Unmarshal(raw, &i); err != nil {
		return err
	}
	if i.Spec.IngressClassName != nil {
		g.line("Class", *i.Spec.IngressClassName)
	}
	found := struct {
		Served bool     `json:"served"`
		Notes  []string `json:"notes"`
	}{Served: true}
	if err := c.Get(ctx, client.Path("swarm", "v1", "ingresses", i.Namespace, i.Name), nil, &found); err != nil && !client.IsNotFound(err) {
		return err
	}
	g.lines("Not served", found.Notes)
	known := map[string]*foundService{}
	leads := func(b *networkingv1.IngressBackend) string {
		if !found.Served {
			return ""
		}
		return p.leads(ctx, c, i.Namespace, b, known)
	}
	if b := i.Spec.DefaultBackend; b != nil {
		g.line("Default backend", backend(b)+led(", leads ", leads(b)))
	}
	for _, t := range i.Spec.TLS {
		g.line("TLS", strings.Join(t.Hosts, ", ")+" by secret "+t.SecretName)
	}
	var rows []string
	for _, r := range i.Spec.Rules {
		if r.HTTP == nil {
			continue
		}
		for _, path := range r.HTTP.Paths {
			typ := ""
			if path.PathType != nil {
				typ = string(*path.PathType)
			}
			rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s", star(r.Host), path.Path, typ, backend(&path.Backend),
				led("leads ", leads(&path.Backend))))
		}
	}
	g.below("Rules", rows)
	return nil
}

func star(host string) string {
	if host == "" {
		return "*"
	}
	return host
}

func (p *program) describeNode(ctx context.Context, c *client.Client, g *page, raw json.RawMessage) error {
	var n corev1.Node
	if err := json.Unmarshal(raw, &n); err != nil {
		return err
	}
	r := nodeRow(&n, p.now())
	k := the("Node")
	for i, cell := range append(r.cells[1:4:4], r.wide...) {
		name := append(k.header[1:4:4], k.wide...)[i]
		g.line(name[:1]+strings.ToLower(name[1:]), cell)
	}
	for _, cond := range n.Status.Conditions {
		g.line(string(cond.Type), strings.TrimSuffix(fmt.Sprintf("%s, %s: %s", cond.Status, cond.Reason, cond.Message), ": "))
	}
	var l corev1.PodList
	q := map[string][]string{"fieldSelector": {"spec.nodeName=" + n.Name}}
	if err := c.Get(ctx, the("Pod").list(""), q, &l); err != nil {
		return err
	}
	var rows []string
	for i := range l.Items {
		status, _ := podState(&l.Items[i])
		rows = append(rows, fmt.Sprintf("%s/%s\t%s\t%s", l.Items[i].Namespace, l.Items[i].Name, status, hostPorts(&l.Items[i])))
	}
	g.below("Pods", rows)
	return nil
}
