package trial

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Migration is a new data dir with something in it that an agent takes over at its first start, in many commits with RestoreArgs.
type Migration int

// What is taken over.
const (
	Version1 Migration = iota // a state.json of the agent that had no log
	FallBack                  // a state.json that is damaged, beside whole backups of that agent
	Copied                    // a backup of this agent's, copied over state.json
	Migrations
)

const (
	old    = 60    // objects of version 1
	oldPad = 9_000 // bytes of each
)

// version1 is a state.json as the agent had it that had no log: objects, one Deployment that asks for no container, and one that cannot be declared.
func version1() ([]byte, error) {
	services := map[string]any{}
	for i := range old {
		name := fmt.Sprintf("old-%d", i)
		services["default/"+name] = map[string]any{"Name": name, "Namespace": "default", "Type": "ClusterIP", "Selector": map[string]string{"app": name},
			"Ports": []map[string]any{{"name": "", "port": 80, "targetPort": 0, "protocol": "TCP"}}, "Annotations": map[string]string{"pad": strings.Repeat(name, oldPad/4)[:oldPad]}}
	}
	container := map[string]any{"name": "c", "image": "localhost/none:1"}
	return json.Marshal(map[string]any{
		"deployments": map[string]any{
			"default/old": map[string]any{"name": "old", "namespace": "default", "desired_replicas": 0, "template": map[string]any{
				"metadata": map[string]any{"labels": map[string]string{"app": "old"}}, "spec": map[string]any{"containers": []any{container}}}},
			"default/half": map[string]any{"name": "half", "namespace": "default", "desired_replicas": 1}, // nobody knows of what
		},
		"services": services, "ingresses": map[string]any{}, "version": 1, "last_modified": "2026-01-21T12:00:00Z"})
}

// Lay makes the data dir. backup is what is copied.
func (m Migration) Lay(dir, backup string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	v1, err := version1()
	if err != nil {
		return err
	}
	files := map[string][]byte{"state.json": v1}
	switch m {
	case FallBack:
		files = map[string][]byte{"state.json": v1[:len(v1)/2], "state-backup-20260121-120000.json": v1, "state-backup-20260121-130000.json": v1[:len(v1)/3]}
	case Copied:
		if files["state.json"], err = os.ReadFile(backup); err != nil {
			return err
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o640); err != nil {
			return err
		}
	}
	return nil
}

// Look waits until the agent has taken it over, and compares: all is there, by one restore, and what it was from has been kept.
func (m Migration) Look(ctx context.Context, a *Agent) (report Report, err error) {
	if err := a.Settled(ctx, 1); err != nil {
		return report, err
	}
	n, _, err := known(ctx, a.URL())
	if err != nil {
		return report, err
	}
	if n != 1 {
		report.Wrong = append(report.Wrong, fmt.Sprintf("migration %d: %d restores, want 1", m, n))
	}
	more, err := m.Whole(ctx, a)
	report.Add(more)
	return report, err
}

// Whole compares what the agent has of it, however much has come since.
func (m Migration) Whole(ctx context.Context, a *Agent) (report Report, err error) {
	if m == Copied {
		seen, n, err := generations(ctx, a.URL()+"/api/v1/namespaces/"+restored+"/services")
		if err != nil || n != objects || seen["0"] != objects {
			report.Partial = append(report.Partial, fmt.Sprintf("a backup copied over state.json: %v, %v, want %d objects", seen, err, objects))
		}
		return report, err
	}
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
		}
	}
	if err := GetJSON(ctx, a.URL()+"/api/v1/namespaces/default/services", &list); err != nil {
		return report, err
	}
	n := 0
	for _, o := range list.Items {
		if strings.HasPrefix(o.Metadata.Name, "old-") {
			n++
		}
	}
	if n != old {
		report.Partial = append(report.Partial, fmt.Sprintf("migration %d: %d objects of version 1, want %d", m, n, old))
	}
	if _, err := Get(ctx, a.URL()+"/apis/apps/v1/namespaces/default/deployments/old"); err != nil {
		report.Lost = append(report.Lost, fmt.Sprintf("migration %d: the Deployment: %v", m, err))
	}
	var st struct{ Refused []struct{ Key string } }
	if err := GetJSON(ctx, a.URL()+"/swarm/v1/status", &st); err != nil {
		return report, err
	}
	if len(st.Refused) != 1 {
		report.Wrong = append(report.Wrong, fmt.Sprintf("migration %d: %v were refused, want the half Deployment", m, st.Refused))
	}
	err = m.kept(a.DataDir, &report)
	return report, err
}

// kept looks for the original, byte for byte.
func (m Migration) kept(dir string, report *Report) error {
	v1, err := version1()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "state") || !e.Type().IsRegular() {
			continue
		}
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // renamed or pruned meanwhile
		}
		b, err := io.ReadAll(f)
		f.Close()
		if err == nil && string(b) == string(v1) {
			return nil
		}
	}
	report.Lost = append(report.Lost, fmt.Sprintf("migration %d: what it was from", m))
	return nil
}
