package client

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// Kubeconfig is what a kubeconfig file says of the one cluster that is its current one: kubectl, helm and psctl take it.
type Kubeconfig struct {
	Name   string // of the cluster
	Server string // "https://host:6443"
	Access
	Namespace string // "" is default
}

// The file, as far as it matters here.
type (
	kubeFile struct {
		APIVersion     string        `json:"apiVersion"`
		Kind           string        `json:"kind"`
		Clusters       []kubeCluster `json:"clusters"`
		Users          []kubeUser    `json:"users"`
		Contexts       []kubeContext `json:"contexts"`
		CurrentContext string        `json:"current-context"`
	}
	kubeCluster struct {
		Name    string `json:"name"`
		Cluster struct {
			Server   string `json:"server"`
			CA       string `json:"certificate-authority-data,omitempty"`
			CAFile   string `json:"certificate-authority,omitempty"`
			Insecure bool   `json:"insecure-skip-tls-verify,omitempty"`
		} `json:"cluster"`
	}
	kubeUser struct {
		Name string `json:"name"`
		User struct {
			Token     string `json:"token,omitempty"`
			TokenFile string `json:"tokenFile,omitempty"`
			Cert      string `json:"client-certificate-data,omitempty"`
			CertFile  string `json:"client-certificate,omitempty"`
			Key       string `json:"client-key-data,omitempty"`
			KeyFile   string `json:"client-key,omitempty"`
			Exec      any    `json:"exec,omitempty"`
		} `json:"user"`
	}
	kubeContext struct {
		Name    string `json:"name"`
		Context struct {
			Cluster   string `json:"cluster"`
			User      string `json:"user"`
			Namespace string `json:"namespace,omitempty"`
		} `json:"context"`
	}
)

// Render is the file. It holds a secret: write it for its owner alone.
func (k Kubeconfig) Render() ([]byte, error) {
	name := k.Name
	if name == "" {
		name = "podman-swarm"
	}
	f := kubeFile{APIVersion: "v1", Kind: "Config", CurrentContext: name,
		Clusters: []kubeCluster{{Name: name}}, Users: []kubeUser{{Name: name}}, Contexts: []kubeContext{{Name: name}}}
	data := base64.StdEncoding.EncodeToString
	f.Clusters[0].Cluster.Server, f.Clusters[0].Cluster.CA = k.Server, data(k.CA)
	u := &f.Users[0].User
	u.Token, u.Cert, u.Key = k.Token, data(k.Cert), data(k.Key)
	c := &f.Contexts[0].Context
	c.Cluster, c.User, c.Namespace = name, name, k.Namespace
	return yaml.Marshal(f)
}

// ReadKubeconfig reads the current context of a kubeconfig file. Files that it names are read as well. The errors hold
// nothing of what it keeps secret.
func ReadKubeconfig(path string) (Kubeconfig, error) {
	var k Kubeconfig
	b, err := os.ReadFile(path)
	if err != nil {
		return k, err
	}
	var f kubeFile
	if err := yaml.Unmarshal(b, &f); err != nil {
		return k, fmt.Errorf("%s is no kubeconfig", path) // and the error might quote it
	}
	if k, err = f.current(filepath.Dir(path)); err != nil {
		return k, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// current is what the file's current context names; dir is where paths in it begin.
func (f *kubeFile) current(dir string) (Kubeconfig, error) {
	var k Kubeconfig
	context, ok := find(f.Contexts, func(c kubeContext) bool { return c.Name == f.CurrentContext })
	if !ok {
		return k, fmt.Errorf("there is no context %q, which is the current one", f.CurrentContext)
	}
	cluster, ok := find(f.Clusters, func(c kubeCluster) bool { return c.Name == context.Context.Cluster })
	if !ok {
		return k, fmt.Errorf("there is no cluster %q, which context %q names", context.Context.Cluster, context.Name)
	}
	user, ok := find(f.Users, func(u kubeUser) bool { return u.Name == context.Context.User })
	switch {
	case !ok && context.Context.User != "":
		return k, fmt.Errorf("there is no user %q, which context %q names", context.Context.User, context.Name)
	case cluster.Cluster.Insecure:
		return k, errors.New("insecure-skip-tls-verify: psctl does not show a token to who may be anybody; give it certificate-authority")
	case user.User.Exec != nil:
		return k, errors.New("user " + user.Name + " is known by a program (exec), which psctl does not run; give it a token")
	}
	k.Name, k.Server, k.Namespace = cluster.Name, cluster.Cluster.Server, context.Context.Namespace
	var errs [4]error
	k.CA, errs[0] = either(dir, "certificate-authority", cluster.Cluster.CA, cluster.Cluster.CAFile)
	k.Cert, errs[1] = either(dir, "client-certificate", user.User.Cert, user.User.CertFile)
	k.Key, errs[2] = either(dir, "client-key", user.User.Key, user.User.KeyFile)
	token := user.User.Token
	if token == "" && user.User.TokenFile != "" {
		var b []byte
		b, errs[3] = either(dir, "tokenFile", "", user.User.TokenFile)
		token = strings.TrimSpace(string(b))
	}
	k.Token = token
	return k, errors.Join(errs[:]...)
}

func find[T any](all []T, is func(T) bool) (t T, ok bool) {
	for _, t := range all {
		if is(t) {
			return t, true
		}
	}
	return t, false
}

// either is what the file holds itself, or else that of a file which it names.
func either(dir, what, data, path string) ([]byte, error) {
	if data != "" {
		b, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, fmt.Errorf("%s-data: not base64", what)
		}
		return b, nil
	}
	if path == "" {
		return nil, nil
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return b, nil
}
