package podman

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// holding is what a volume holds of another object.
type holding struct {
	source
	items    []corev1.KeyToPath
	mode     *int32
	optional *bool
}

// holdingOf is what a volume holds of another object; false, if it is another sort of volume.
func holdingOf(v *corev1.Volume) (holding, bool) {
	switch {
	case v.Secret != nil:
		return holding{secretNamed(v.Secret.SecretName), v.Secret.Items, v.Secret.DefaultMode, v.Secret.Optional}, true
	case v.ConfigMap != nil:
		return holding{configMapNamed(v.ConfigMap.Name), v.ConfigMap.Items, v.ConfigMap.DefaultMode, v.ConfigMap.Optional}, true
	}
	return holding{}, false
}

// files are the volume's, by their paths in it. Its errors are in Kubernetes' words.
func (h *holding) files(values func(s source, optional *bool) (data, binary map[string][]byte, err error)) (map[string]file, error) {
	data, binary, err := values(h.source, h.optional)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(data)
	if all == nil {
		all = map[string][]byte{}
	}
	maps.Copy(all, binary)
	mode := fs.FileMode(0o644)
	if h.mode != nil {
		mode = fs.FileMode(*h.mode)
	}
	files := map[string]file{}
	if len(h.items) == 0 {
		for key, value := range all {
			files[key] = file{value, mode}
		}
		return files, nil
	}
	for _, i := range h.items {
		value, ok := all[i.Key]
		if !ok && is(h.optional) {
			continue
		} else if !ok {
			word := strings.ToLower(strings.TrimSuffix(h.kind, "Map"))
			return nil, fmt.Errorf("references non-existent %s key: %s, of %s %q", word, i.Key, strings.ToLower(h.kind), h.name)
		}
		f := file{value, mode}
		if i.Mode != nil {
			f.mode = fs.FileMode(*i.Mode)
		}
		files[path.Clean(i.Path)] = f
	}
	return files, nil
}

// folderOf is where the files of a placement's volumes stand. It follows from the labels that its containers have.
func (r *Reconciler) folderOf(pod projection.Pod, placement events.ID) string {
	return filepath.Join(r.Files, containerName(pod, placement, 0))
}

// volume is the one of that name, nil for none.
func (p *pod) volume(name string) *corev1.Volume {
	i := slices.IndexFunc(p.spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
	if i < 0 {
		return nil
	}
	return &p.spec.Volumes[i]
}

// bound is a mount of a volume whose files stand on this host: subPath is looked for each time that the container is started, through the link to what is current.
func (p *pod) bound(m *corev1.VolumeMount) string {
	folder := filepath.Join(p.folder, m.Name)
	if m.SubPath == "" {
		return folder
	}
	return filepath.Join(folder, dataLink, m.SubPath)
}

// emptyDir is the name of the volume that a mount of an emptyDir is of: each of its subPaths has one of its own. A folder in one that others have as well could be exchanged
// by them for a link to anywhere on the host.
func (p *pod) emptyDir(m *corev1.VolumeMount) string {
	name := volumeName(p.placed, m.Name)
	if sub := path.Clean(m.SubPath); sub != "." {
		sum := sha256.Sum256([]byte(sub))
		name += "." + hex.EncodeToString(sum[:4])
	}
	return name
}

// fill writes the files that the container is to have in its volumes, before it is made, or, again, started: they do not outlive a boot. What is
// there since an earlier start stays if it cannot be had any more.
func (t *turn) fill(p *pod, again bool) error {
	done := map[string]bool{}
	for _, m := range p.one.VolumeMounts {
		v := p.volume(m.Name)
		if v == nil {
			continue
		}
		if v.HostPath != nil && m.SubPath != "" {
			if err := prepareSubPath(v.HostPath.Path, m.SubPath); err != nil {
				return fmt.Errorf("volume %q: subPath %q: %w", v.Name, m.SubPath, err)
			}
		}
		h, ok := holdingOf(v)
		if !ok {
			continue
		}
		if !done[v.Name] {
			done[v.Name] = true
			err := t.write(t.Pod.Namespace, p.folder, v.Name, &h)
			if _, statErr := os.Stat(filepath.Join(p.folder, v.Name, dataLink)); err != nil && again && statErr == nil {
				t.stale(v.Name, err)
			} else if err != nil {
				return fmt.Errorf("volume %q: %w", v.Name, err)
			}
		}
		if m.SubPath != "" {
			if _, err := os.Stat(p.bound(&m)); errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("volume %q has no %q, which is mounted of it: %s %s has no such key", v.Name, m.SubPath, h.kind, h.name)
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// stale tells that a volume has not what it should.
func (t *turn) stale(volume string, err error) {
	if t.Log != nil {
		t.Log.Warn("a volume keeps the files that it has", append(t.who(), "volume", volume, "err", err)...)
	}
}

// write makes a volume's files those of the object as it is now.
func (c *crew) write(namespace, folder, volume string, h *holding) error {
	c.writing.Lock()
	defer c.writing.Unlock() // of two that write the same volume, the later looks the object up later
	files, err := h.files(func(s source, optional *bool) (data, binary map[string][]byte, err error) {
		return c.valuesOf(namespace, s, optional)
	})
	if err != nil {
		return unfound{err}
	}
	if err := private(c.Files, h.kind == "Secret"); err != nil {
		return err
	}
	return writeVolume(filepath.Join(folder, volume), files)
}

// unfound is why there is nothing to write: of what is missing a change will be heard.
type unfound struct{ error }

// refill writes the volumes of a pod's containers anew, beside the loop, since what they hold may have changed.
func (l *loop) refill(ctx context.Context, first *replica) {
	if len(first.sources) == 0 || first.last == nil || first.placement.IsZero() {
		return
	}
	folders := map[string]bool{}
	for _, r := range first.parts() {
		for _, c := range r.There {
			id := placementOf(&c)
			if carried, why := carriesOut(&c, r.Recorded); why == "" && first.last.Is(carried) { // else its volumes are not those of the template
				folders[l.folderOf(first.Pod, id)] = true
			}
		}
	}
	p, err := readPod(first.last, "")
	if err != nil || len(folders) == 0 {
		return
	}
	pod := first.Pod
	l.goes(func() {
		for n := 0; !l.rewrite(pod, p.spec.Volumes, folders); n++ {
			if Wait(backoff(failPause, n))(ctx) != nil {
				return
			}
		}
	})
}

// rewrite writes the volumes that are there, and reports whether there is no use in trying again.
func (l *loop) rewrite(pod projection.Pod, volumes []corev1.Volume, folders map[string]bool) bool {
	done := true
	for folder := range folders {
		for i := range volumes {
			h, ok := holdingOf(&volumes[i])
			name := volumes[i].Name
			if _, err := os.Stat(filepath.Join(folder, name, dataLink)); !ok || err != nil {
				continue
			}
			err := l.write(pod.Namespace, folder, name, &h)
			if err != nil && l.Log != nil {
				l.Log.Warn("a volume keeps the files that it has", "namespace", pod.Namespace, "pod", pod.Name(), "volume", name, "err", err)
			}
			done = done && (err == nil || errors.As(err, new(unfound)))
		}
	}
	return done
}

// sweepFiles removes the volumes' files of placements that are over, once no container is left that has them.
func (l *loop) sweepFiles(ctx context.Context) error {
	if l.Files == "" {
		return nil
	}
	there, err := os.ReadDir(l.Files)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil || len(there) == 0:
		return err
	}
	// After the folder was read: whose files were there by then has a placement, or a container, by now.
	view, needed := l.Ledger.View(), map[string]bool{}
	for o := range view.All(projection.PlacementType + "/") {
		pod, _, _ := projection.PodOf(o.Key)
		placed, err := view.Placement(pod)
		if err != nil {
			return err
		}
		if placed != nil {
			needed[containerName(pod, placed.Event(), 0)] = true
		}
	}
	var all []Container
	err = within(ctx, quick, func(ctx context.Context) (err error) {
		all, err = l.Engine.List(ctx, LabelCluster, l.own.cluster)
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range all {
		if pod, id, ok := labelled(c.Labels); ok {
			needed[containerName(pod, id, 0)] = true
		}
	}
	for _, e := range there {
		if !needed[e.Name()] {
			err = errors.Join(err, os.RemoveAll(filepath.Join(l.Files, e.Name())))
		}
	}
	return err
}
