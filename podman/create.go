package podman

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/projection"
)

// How many names, and sets of host ports, are tried for one container before it counts as a failure.
const (
	nameTries = 5
	portTries = 10
)

// create makes a new container for the placement, and starts it.
func (t *turn) create(ctx context.Context) error {
	p, spec, err := t.prepare(ctx)
	if err != nil {
		return err
	}
	return t.begin(ctx, p, spec)
}

// begin makes the container for which all is ready, and starts it.
func (t *turn) begin(ctx context.Context, p *pod, spec *Spec) error {
	if t.Of != "" {
		return t.beginOther(ctx, p, spec)
	}
	var had []projection.Port
	if t.Recorded != nil && t.Placed.Is(t.Recorded.Placement) {
		had = t.Recorded.Ports
	}
	avoid := map[int]bool{}
	for try := 1; ; try++ {
		ports, err := t.ports.choose(p, had, avoid)
		if err != nil {
			return fail("CreateContainerError", err)
		}
		if !p.spec.HostNetwork {
			spec.PortMappings = mapping(ports)
		}
		if !t.held(t.Ledger.View()) { // what was prepared may have taken long
			return errChanged
		}
		id, err := t.make(ctx, spec)
		if err != nil {
			return fail("CreateContainerError", err)
		}
		t.there = append(t.there, Container{ID: id, Name: spec.Name, Labels: spec.Labels, Status: StatusCreated})
		t.refusals = 0 // of the one before
		err = t.tryStart(ctx, id)
		switch {
		case err == nil:
			t.stats.Created.Add(1)
			t.stats.Started.Add(1)
			t.say("created pod", id)
			return t.record(ctx, id)
		case !errors.Is(err, ErrPortInUse) || !t.ports.others(p) || try == portTries:
			return fail("RunContainerError", err)
		}
		// Somebody took a port after it was looked at. Podman does not say which as a number: all are chosen anew.
		for _, port := range ports {
			avoid[port.Host] = true
		}
		if err := t.do(ctx, slow, func(ctx context.Context) error { return t.Engine.Remove(ctx, id) }); err != nil {
			return fail("RemoveContainerError", err)
		}
		t.gone(id)
	}
}

// beginOther makes and starts a container that is not its pod's first. It has the network of that, which Podman starts with it if
// that has ended meanwhile; an init container, before which there is none, has one of its own.
func (t *turn) beginOther(ctx context.Context, p *pod, spec *Spec) error {
	if t.Layout.Joined && slices.Contains(t.Layout.Others, t.Of) {
		p.join(spec, t.Whole.Container)
	}
	if !t.held(t.Ledger.View()) {
		return errChanged
	}
	id, err := t.make(ctx, spec)
	if err != nil {
		return fail("CreateContainerError", err)
	}
	t.there = append(t.there, Container{ID: id, Name: spec.Name, Labels: spec.Labels, Status: StatusCreated})
	t.refusals = 0 // of the one before
	if err := t.tryStart(ctx, id); err != nil {
		return fail("RunContainerError", err)
	}
	t.stats.Created.Add(1)
	t.stats.Started.Add(1)
	t.say("created pod", id)
	return t.record(ctx, id)
}

// prepare gets everything ready that the container needs: the image, host paths, volumes.
func (t *turn) prepare(ctx context.Context) (*pod, *Spec, error) {
	p, err := readPod(t.Placed, t.Of)
	if err != nil {
		return nil, nil, fail(configError, err)
	}
	name, image, err := t.image(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	p.values, p.folder, p.exec = t.values, t.folderOf(t.Pod, t.Placed.Event()), os.Geteuid() == 0
	spec, err := p.translate(t.own, image)
	if err == nil {
		err = p.prepareHostPaths()
	}
	if err == nil {
		err = t.fill(p, false)
	}
	if err != nil {
		return nil, nil, fail(configError, err)
	}
	var resolver netip.Addr
	if t.Resolver != nil {
		resolver = t.Resolver()
	}
	p.naming(spec, resolver, hostNaming)
	spec.Image = name
	for _, v := range spec.Volumes {
		err := t.do(ctx, slow, func(ctx context.Context) error {
			return t.Engine.CreateVolume(ctx, v.Name, cmp.Or(volumeOwner(spec.User), p.ownerOf(v.Name)), t.own.labels(t.Placed))
		})
		if err != nil {
			return nil, nil, fail("CreateContainerError", err)
		}
	}
	return p, spec, nil
}

// volumeOwner is whom an emptyDir belongs to: the user that the program runs as, if that is known by number. Left to
// itself, Podman gives it the owner of a folder that the image has at its path, and then only root may write there.
func volumeOwner(user string) string {
	uid, gid, both := strings.Cut(user, ":")
	if _, err := strconv.ParseUint(uid, 10, 32); err != nil {
		return ""
	}
	if _, err := strconv.ParseUint(gid, 10, 32); !both || err != nil {
		return uid
	}
	return uid + ":" + gid
}

// image makes sure that the image is here, as the pull policy wants it, and returns the name under which it is.
func (t *turn) image(ctx context.Context, p *pod) (string, Image, error) {
	name, full := p.one.Image, fullName(p.one.Image)
	if p.pull() != corev1.PullAlways {
		image, err := t.look(ctx, name)
		switch {
		case err == nil:
			return name, image, nil
		case !errors.Is(err, ErrNotFound):
			return "", Image{}, fail("ImageInspectError", err)
		case p.pull() == corev1.PullNever:
			return "", Image{}, fail("ErrImageNeverPull", fmt.Errorf("image %s is not on this host, and its pull policy is Never", name))
		}
	}
	if t.Recorded == nil || t.Recorded.Placement != t.Placed.Event() { // a first try: people see what takes so long
		err := t.put(ctx, t.pending("Pulling", "pulling image "+full))
		if errors.Is(err, errChanged) || ctx.Err() != nil { // on a full disk it is pulled all the same
			return "", Image{}, err
		}
	}
	if err := t.pull(ctx, full); errors.Is(err, errChanged) {
		return "", Image{}, err
	} else if err != nil {
		reason := "ErrImagePull"
		if r := t.Recorded; r != nil && (r.Reason == reason || r.Reason == "ImagePullBackOff") {
			reason = "ImagePullBackOff"
		}
		return "", Image{}, fail(reason, err)
	}
	image, err := t.look(ctx, full)
	if err != nil {
		return "", Image{}, fail("ImageInspectError", err)
	}
	return full, image, nil
}

// pull fetches the image, once for all replicas that want it. Should the placement end meanwhile, it goes on without
// this one, which may be wanted from another image by now, or not at all.
func (t *turn) pull(ctx context.Context, full string) error {
	pulled := make(chan error, 1)
	t.working.Go(func() {
		_, err, _ := t.pulls.Do(full, func() (any, error) {
			return nil, within(ctx, pullTime, func(ctx context.Context) error { return t.Engine.Pull(ctx, full) })
		})
		pulled <- err
	})
	for {
		view := t.Ledger.View()
		if !t.held(view) {
			return errChanged
		}
		select {
		case err := <-pulled:
			return err
		case <-view.Changed:
		}
	}
}

// held reports whether the placement that the turn carries out is still this host's to carry out.
func (t *turn) held(view *projection.View) bool {
	now, err := view.Placement(t.Pod)
	return err == nil && now != nil && now.Host == t.Host && now.Event() == t.Placed.Event()
}

func (t *turn) look(ctx context.Context, name string) (image Image, err error) {
	err = t.do(ctx, quick, func(ctx context.Context) error {
		image, err = t.Engine.Image(ctx, name)
		return err
	})
	return image, err
}

// fullName is the image's name with its registry: docker.io where none is said, as in Kubernetes.
func fullName(image string) string {
	first, _, more := strings.Cut(image, "/")
	switch {
	case !more:
		return "docker.io/library/" + image
	case first == "localhost" || strings.ContainsAny(first, ".:"):
		return image
	}
	return "docker.io/" + image
}

// make makes the container under the first name that is free, and returns its id. If a container of this very
// placement has the name, made by a request whose answer was lost, it is that one; one that this host made for it under
// another name of its own, or of its cluster's, stands in its place: two would be on the same folders.
func (t *turn) make(ctx context.Context, spec *Spec) (id string, err error) {
	for n := range nameTries {
		spec.Name = partName(t.Pod, t.Placed.Event(), n, t.Of)
		err = t.do(ctx, slow, func(ctx context.Context) error {
			id, err = t.Engine.Create(ctx, spec)
			return err
		})
		if !errors.Is(err, ErrNameInUse) {
			return id, err
		}
		holder, holderErr := t.inspectName(ctx, spec.Name)
		_, placement, ok := labelled(holder.Labels)
		switch {
		case errors.Is(holderErr, ErrNotFound):
			t.warnName(spec.Name, "something in Podman's storage that is no container has the name; podman rm --force NAME would remove it")
		case holderErr != nil:
			return "", holderErr
		case ok && !t.lies(holder) && t.own.has(holder.Labels) && placement == t.Placed.Event() && holder.Labels[LabelSpecHash] == t.Placed.SpecHash:
			return holder.ID, nil
		case ok && !t.own.has(holder.Labels) && placement == t.Placed.Event():
			return "", fmt.Errorf("container %s carries out this very placement, of cluster %q, host %q: "+
				"start the agent with that --cluster-name and --node-name, or remove the container", spec.Name, holder.Labels[LabelCluster], holder.Labels[LabelHost])
		default:
			t.warnName(spec.Name, "another container has the name")
		}
	}
	return "", err
}

func (t *turn) inspectName(ctx context.Context, name string) (c Container, err error) {
	err = t.do(ctx, quick, func(ctx context.Context) error {
		c, err = t.Engine.Inspect(ctx, name)
		return err
	})
	return c, err
}

func (t *turn) warnName(name, why string) {
	if t.Log != nil {
		t.Log.Warn("a container's name is taken; trying the next one", "name", name, "why", why)
	}
}
