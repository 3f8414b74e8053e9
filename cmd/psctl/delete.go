package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/podman-swarm/podman-swarm/cmd/internal/client"
)

func (p *program) delete() *cobra.Command {
	d := &deleter{program: p}
	c := &cobra.Command{
		Use:        "delete KIND NAME… | KIND/NAME… | -f FILE|FOLDER|- …",
		SuggestFor: []string{"rm", "remove"},
		Short:      "Delete objects by name, or those that manifests name",
		Long: `delete deletes Deployments, Services, Ingresses, Endpoints, ConfigMaps, Secrets and Namespaces, for good: an object that is created again
under the name is another one. With a Namespace goes everything that is declared in it; of manifests, Namespaces go last. Containers of a Deployment are stopped after
it; --wait returns when they are gone.

What is not there is said, and ends with exit code 4 once all else is deleted; with --ignore-not-found it is no error.
-o name gives KIND/NAME of each that was deleted.

` + spreadHelp,
		Example: `  psctl delete deployment web --wait
  psctl delete svc/web ing/web
  psctl delete -f web.yaml --ignore-not-found`,
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkTimeout(c, d.wait, d.timeout); err != nil {
				return err
			}
			return d.run(c.Context(), args)
		},
	}
	d.files.flags(c)
	d.spread.flags(c)
	p.causeFlag(c)
	d.form = output(c, asName)
	c.Flags().BoolVar(&d.ignore, "ignore-not-found", false, "what is not there is no error")
	waitFlags(c, &d.wait, &d.timeout, "wait until the containers are gone")
	c.ValidArgsFunction = p.completeObjects(false, false)
	return c
}

// deleter is one delete.
type deleter struct {
	*program
	files
	form    *format
	ignore  bool
	wait    bool
	timeout time.Duration
	spread  spread
}

// victim is one object to be deleted.
type victim struct {
	kind
	namespace, name string
}

func (d *deleter) run(ctx context.Context, args []string) error {
	victims, err := d.victims(ctx, args)
	if err != nil {
		return err
	}
	c, err := d.client()
	if err != nil {
		return err
	}
	var left *leaving
	if d.wait {
		if left, err = d.leaving(ctx, c, victims); err != nil {
			return err
		}
	}
	absent, err := d.deleteAll(ctx, c, victims)
	switch {
	case err == nil && d.wait:
		err = d.spread.before(d.program, "", func() error { return left.waitGone(ctx, d.timeout) })
	case err == nil:
		err = d.spread.told(d.program, "")
	}
	return errors.Join(err, absent)
}

// deleteAll deletes one after the other. absent is said of those that are not there; after another error it stops.
func (d *deleter) deleteAll(ctx context.Context, c *client.Client, victims []victim) (absent, err error) {
	for _, v := range victims {
		why := url.Values{"cause": {d.why("psctl delete " + v.label(v.name))}}
		_, err := c.Do(ctx, client.Request{Method: http.MethodDelete, Path: v.one(v.namespace, v.name), Query: why, Spread: &d.spread.Spread})
		switch {
		case client.IsNotFound(err) && d.ignore:
			continue
		case client.IsNotFound(err):
			absent = errors.Join(absent, notFound("%s", v))
			continue
		case err != nil:
			return absent, unanswered(ctx, "delete "+v.label(v.name), againIsSafe, err)
		}
		text := v.label(v.name) + " deleted\n"
		if d.form.value == asName {
			text = v.label(v.name) + "\n"
		}
		if err := d.printf("%s", text); err != nil {
			return absent, err
		}
	}
	return absent, nil
}

// String says that it is not there.
func (v victim) String() string {
	if !v.namespaced {
		return fmt.Sprintf("no %s %q", v.singular, v.name)
	}
	return fmt.Sprintf("no %s %q in namespace %s", v.singular, v.name, v.namespace)
}

// victims are the objects that are named; none of a kind that cannot be deleted.
func (d *deleter) victims(ctx context.Context, args []string) ([]victim, error) {
	switch byFile := len(d.files.names) > 0; {
	case byFile && len(args) > 0:
		return nil, usage("-f and names exclude each other")
	case byFile:
		m, err := d.readManifest(ctx, d.files.names, d.recursive)
		if err != nil {
			return nil, fmt.Errorf("%w\nnothing was deleted", err)
		}
		return d.named(m)
	case len(args) == 0:
		return nil, usage("delete what? psctl delete KIND NAME, or psctl delete -f FILE")
	}
	ts, err := targets(args)
	if err != nil {
		return nil, err
	}
	var all []victim
	for _, t := range ts {
		if len(t.names) == 0 {
			return nil, usage("which %s? psctl delete %s NAME", t.plural, t.singular)
		}
		for _, name := range t.names {
			all = append(all, victim{t.kind, d.in(t.kind, ""), name})
		}
	}
	return all, nil
}

// in is the namespace of an object whose manifest names that one.
func (d *deleter) in(k kind, namespace string) string {
	switch {
	case !k.namespaced:
		return ""
	case namespace != "":
		return namespace
	}
	return d.ns()
}

// named reads which objects manifests name. Nothing else in them matters, so that also those can be deleted that an
// agent would no longer take.
func (d *deleter) named(m manifest) ([]victim, error) {
	var all []victim
	var errs []error
	for _, s := range m.sources {
		stream := yamlstream.NewYAMLOrJSONDecoder(bytes.NewReader(s.text), 4096)
		for {
			var o struct {
				metav1.PartialObjectMetadata `json:",inline"`
				Items                        []metav1.PartialObjectMetadata `json:"items"`
			}
			if err := stream.Decode(&o); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", s.name, err))
				break
			}
			objects := o.Items
			if o.Kind != "" && objects == nil {
				objects = []metav1.PartialObjectMetadata{o.PartialObjectMetadata}
			}
			for _, o := range objects {
				k, err := kindOf(o.Kind)
				if err != nil || o.Name == "" {
					errs = append(errs, fmt.Errorf("%s: kind %q, name %q: want an object that can be deleted", s.name, o.Kind, o.Name))
					continue
				}
				all = append(all, victim{k, d.in(k, o.Namespace), o.Name})
			}
		}
	}
	if len(errs) == 0 && len(all) == 0 {
		errs = append(errs, fmt.Errorf("%s: names no objects", m.names()))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%w\nnothing was deleted", err)
	}
	// With a Namespace goes what it holds: what the manifests name of that is deleted before, by its name.
	slices.SortStableFunc(all, func(a, b victim) int {
		last := func(v victim) int {
			if v.singular == "namespace" {
				return 1
			}
			return 0
		}
		return last(a) - last(b)
	})
	return all, nil
}
