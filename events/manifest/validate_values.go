package manifest

import (
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a container takes of other objects. Whether those are there is not looked at: they may be declared later.

// env checks a container's environment.
func (c *checks) env(k *corev1.Container, path *field.Path) {
	for i, e := range k.Env {
		at := path.Child("env").Index(i)
		if e.Name == "" {
			c.add(field.Required(at.Child("name"), ""))
		} else {
			c.msgs(at.Child("name"), e.Name, utilvalidation.IsRelaxedEnvVarName(e.Name))
		}
		if e.ValueFrom != nil {
			c.valueFrom(&e, at.Child("valueFrom"))
		}
	}
	for i, f := range k.EnvFrom {
		at := path.Child("envFrom").Index(i)
		if f.Prefix != "" {
			c.msgs(at.Child("prefix"), f.Prefix, utilvalidation.IsRelaxedEnvVarName(f.Prefix))
		}
		if m := f.ConfigMapRef; m != nil {
			c.otherName(at.Child("configMapRef", "name"), m.Name)
		}
		if s := f.SecretRef; s != nil {
			c.otherName(at.Child("secretRef", "name"), s.Name)
		}
		switch {
		case f.ConfigMapRef == nil && f.SecretRef == nil:
			c.add(field.Invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"))
		case f.ConfigMapRef != nil && f.SecretRef != nil:
			c.add(field.Invalid(at, "", "may not have more than one field specified at a time"))
		}
	}
}

func (c *checks) valueFrom(e *corev1.EnvVar, path *field.Path) {
	n := 0
	if v := e.ValueFrom; v.ResourceFieldRef != nil || v.FileKeyRef != nil {
		n++ // and is refused
	}
	if s := e.ValueFrom.SecretKeyRef; s != nil {
		n++
		c.keyRef(path.Child("secretKeyRef"), s.Name, s.Key)
	}
	if m := e.ValueFrom.ConfigMapKeyRef; m != nil {
		n++
		c.keyRef(path.Child("configMapKeyRef"), m.Name, m.Key)
	}
	if f := e.ValueFrom.FieldRef; f != nil {
		n++
		c.fieldRef(f, path.Child("fieldRef"))
	}
	switch {
	case n == 0:
		c.add(field.Invalid(path, "", "must specify one of: `fieldRef`, `configMapKeyRef` or `secretKeyRef`"))
	case e.Value != "":
		c.add(field.Invalid(path, "", "may not be specified when `value` is not empty"))
	case n > 1:
		c.add(field.Invalid(path, "", "may not have more than one field specified at a time"))
	}
}

// otherName checks the name of another object, which must be there.
func (c *checks) otherName(path *field.Path, name string) {
	if name == "" {
		c.add(field.Required(path, ""))
		return
	}
	c.msgs(path, name, validation.NameIsDNSSubdomain(name, false))
}

func (c *checks) keyRef(path *field.Path, name, key string) {
	c.otherName(path.Child("name"), name)
	c.key(path.Child("key"), key)
}

func (c *checks) key(path *field.Path, key string) {
	if key == "" {
		c.add(field.Required(path, ""))
		return
	}
	c.msgs(path, key, utilvalidation.IsConfigMapKey(key))
}

func (c *checks) fieldRef(f *corev1.ObjectFieldSelector, path *field.Path) {
	oneOf(c, path.Child("apiVersion"), f.APIVersion, "v1")
	at := path.Child("fieldPath")
	no := func(why string) {
		c.add(field.Forbidden(at, fmt.Sprintf("%s is not supported yet by podman-swarm: %s", f.FieldPath, why)))
	}
	switch name, key, keyed := PodField(f.FieldPath); {
	case f.FieldPath == "":
		c.add(field.Required(at, ""))
	case keyed && name == "metadata.labels":
		c.msgs(at, key, utilvalidation.IsQualifiedName(key))
	case keyed && name == "metadata.annotations":
		c.msgs(at, key, utilvalidation.IsQualifiedName(strings.ToLower(key)))
	case f.FieldPath == "status.podIP", f.FieldPath == "status.podIPs":
		no("a pod's address is not known before it is started")
	case f.FieldPath == "status.hostIP", f.FieldPath == "status.hostIPs":
		no("a host has several: use spec.nodeName")
	case f.FieldPath == "spec.serviceAccountName":
		no("there are no service accounts")
	default:
		oneOf(c, at, f.FieldPath, "metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels['KEY']", "metadata.annotations['KEY']", "spec.nodeName")
	}
}

// PodField takes the path of a fieldRef apart: metadata.labels['app'] is that of a map, and has a key.
func PodField(path string) (name, key string, keyed bool) {
	name, rest, ok := strings.Cut(path, "['")
	key, closed := strings.CutSuffix(rest, "']")
	if !ok || !closed {
		return path, "", false
	}
	return name, key, true
}

// files checks which files a volume is to have of another object.
func (c *checks) files(mode *int32, items []corev1.KeyToPath, at *field.Path) {
	c.mode(at.Child("defaultMode"), mode)
	var taken []string
	for i, item := range items {
		at := at.Child("items").Index(i)
		if item.Key == "" {
			c.add(field.Required(at.Child("key"), ""))
		}
		c.mode(at.Child("mode"), item.Mode)
		at = at.Child("path")
		if item.Path == "" {
			c.add(field.Required(at, ""))
			continue
		}
		if !c.within(at, item.Path) {
			continue
		}
		if strings.HasPrefix(item.Path, "..") {
			c.add(field.Invalid(at, item.Path, "must not start with '..'"))
		}
		clean := path.Clean(item.Path)
		switch other, in := nested(clean, taken); {
		case clean == ".":
			c.add(field.Invalid(at, item.Path, "must be the path of a file in the volume"))
		case slices.Contains(taken, clean):
			c.add(field.Duplicate(at, item.Path))
		case in:
			c.add(field.Invalid(at, item.Path, "must not be a folder and a file at once: "+other+" is another item's path"))
		}
		taken = append(taken, clean)
	}
}

func (c *checks) mode(path *field.Path, mode *int32) {
	if mode != nil && (*mode < 0 || *mode > 0o777) {
		c.add(field.Invalid(path, *mode, "must be a number between 0 and 0777 (octal), both inclusive"))
	}
}

// within checks a path in a volume, and reports whether it is one.
func (c *checks) within(at *field.Path, p string) bool {
	before := len(c.errs)
	if path.IsAbs(p) {
		c.add(field.Invalid(at, p, "must be a relative path"))
	}
	if slices.Contains(strings.Split(p, "/"), "..") {
		c.add(field.Invalid(at, p, "must not contain '..'"))
	}
	return len(c.errs) == before
}

// nested gives one of the paths that p lies in, or that lies in p.
func nested(p string, in []string) (string, bool) {
	for _, other := range in {
		if strings.HasPrefix(p, other+"/") || strings.HasPrefix(other, p+"/") || (other == ".") != (p == ".") {
			return other, true
		}
	}
	return "", false
}

// subPath checks which part of a volume is mounted. Each that is mounted of an emptyDir is a volume of its own: what one container may write to must
// not be where another's mount is looked for, since it could lead from there to anywhere on the host.
func (c *checks) subPath(m corev1.VolumeMount, v *corev1.Volume, all *shared, at *field.Path) {
	if !c.within(at, m.SubPath) || v == nil || v.EmptyDir == nil {
		return
	}
	sub := path.Clean(m.SubPath)
	if other, in := nested(sub, all.parts[m.Name]); in {
		word := func(sub string) string {
			if sub == "." {
				return "the whole"
			}
			return "subPath " + sub
		}
		c.add(field.Forbidden(at, "not supported yet by podman-swarm: each subPath of an emptyDir is a volume of its own, and "+word(other)+" and "+word(sub)+" lie in each other"))
	}
	all.parts[m.Name] = append(all.parts[m.Name], sub)
}
