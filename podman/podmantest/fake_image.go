package podmantest

import (
	"context"
	"slices"

	"github.com/podman-swarm/podman-swarm/podman"
)

// Image implements podman.Engine.
func (f *Fake) Image(ctx context.Context, name string) (podman.Image, error) {
	if err := f.asked(ctx, "Image", name, false); err != nil {
		return podman.Image{}, err
	}
	defer f.mu.Unlock()
	image, ok := f.images[name]
	if !ok {
		return podman.Image{}, refuse(podman.ErrNotFound, "failed to find image %s: %s: image not known", name, name)
	}
	return image, nil
}

// Pull implements podman.Engine. There is no registry: what is not on the host cannot be pulled, unless a Hook adds it.
func (f *Fake) Pull(ctx context.Context, name string) error {
	if err := f.asked(ctx, "Pull", name, true); err != nil {
		return err
	}
	defer f.mu.Unlock()
	if _, ok := f.images[name]; !ok {
		return refuse(nil, "initializing source docker://%s: reading manifest: manifest unknown", name)
	}
	return nil
}

// CreateVolume implements podman.Engine.
func (f *Fake) CreateVolume(ctx context.Context, name, _ string, labels map[string]string) error {
	if err := f.asked(ctx, "CreateVolume", name, true); err != nil {
		return err
	}
	defer f.mu.Unlock()
	if _, ok := f.volumes[name]; !ok {
		f.volumes[name] = podman.Volume{Name: name, Labels: labels}
	}
	return nil
}

// Volumes implements podman.Engine.
func (f *Fake) Volumes(ctx context.Context, label, value string) ([]podman.Volume, error) {
	if err := f.asked(ctx, "Volumes", "", false); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	var all []podman.Volume
	for _, v := range f.volumes {
		if got, ok := v.Labels[label]; ok && got == value {
			all = append(all, v)
		}
	}
	return all, nil
}

// RemoveVolume implements podman.Engine.
func (f *Fake) RemoveVolume(ctx context.Context, name string) error {
	if err := f.asked(ctx, "RemoveVolume", name, true); err != nil {
		return err
	}
	defer f.mu.Unlock()
	for _, c := range f.containers {
		if slices.ContainsFunc(c.spec.Volumes, func(v podman.NamedVolume) bool { return v.Name == name }) {
			return refuse(nil, "volume %s is being used by the following container(s): %s: volume is being used", name, c.ID)
		}
	}
	delete(f.volumes, name)
	return nil
}
