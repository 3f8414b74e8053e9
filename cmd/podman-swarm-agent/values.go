package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/secret"
)

// valuesOf gives containers what they take of other objects.
func (a *agent) valuesOf(secrets *secret.Reader) func(namespace, kind, name string) (data, binary map[string][]byte, err error) {
	return func(namespace, kind, name string) (data, binary map[string][]byte, err error) {
		switch kind {
		case "Secret":
			data, err = secrets.Values(namespace, name)
			return data, nil, err
		case "ConfigMap":
			return configMap(a.ledger.View(), namespace, name)
		}
		return nil, nil, fmt.Errorf("containers can take nothing of a %s", kind)
	}
}

func configMap(v *projection.View, namespace, name string) (data, binary map[string][]byte, err error) {
	const typ = "configmap"
	o, ok := v.Lookup(typ + "/" + namespace + "/" + name)
	if !ok {
		return nil, nil, fmt.Errorf("there is no ConfigMap %s/%s: %w", namespace, name, fs.ErrNotExist)
	}
	d, err := manifest.Decode(typ, o.Version.Object)
	if err != nil {
		return nil, nil, err
	}
	m, ok := d.(*corev1.ConfigMap)
	if !ok {
		return nil, nil, fmt.Errorf("%s is recorded, and is no ConfigMap", o.Key)
	}
	data = map[string][]byte{}
	for k, text := range m.Data {
		data[k] = []byte(text)
	}
	return data, m.BinaryData, nil
}

// filesFolder is where the files of Secrets and ConfigMaps stand that containers have mounted: in memory, and in a folder that no other agent of this
// machine has, since its data dir is another. runtime is XDG_RUNTIME_DIR, which matters to an agent that is not root.
func filesFolder(uid int, runtime, dataDir string) string {
	base := "/run"
	if uid != 0 && runtime != "" {
		base = runtime
	}
	if real, err := filepath.EvalSymlinks(dataDir); err == nil {
		dataDir = real
	}
	sum := sha256.Sum256([]byte(dataDir))
	return filepath.Join(base, "podman-swarm", hex.EncodeToString(sum[:4]))
}
