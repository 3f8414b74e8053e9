package monitoring

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	read(t, "rules.yaml", &file)
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

func alerts(t *testing.T) []rule {
	t.Helper()
	return slices.DeleteFunc(rules(t), func(r rule) bool { return r.Alert == "" })
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal(text(t, name), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func text(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ruleTests are the files with what makes each alert fire, and with what is recorded.
func ruleTests() []string {
	return []string{"rules_test.yaml", "rules_services_test.yaml", "rules_loops_test.yaml", "rules_hours_test.yaml", "rules_days_test.yaml", "rules_recorded_test.yaml"}
}

// Prometheus' own tool takes the rules, and each alert fires when it should, with what it should say, and clears.
func TestRules_promtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Fatalf("%v: integration/setup.sh tests installs it (Debian: prometheus)", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for _, args := range [][]string{{"check", "rules", "rules.yaml"}, append([]string{"test", "rules"}, ruleTests()...)} {
		out, err := exec.CommandContext(ctx, tool, args...).CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// An alert that no test has seen fire may never do, and one that was not seen to clear may never end.
func TestRules_eachAlertIsTested(t *testing.T) {
	type test struct {
		Alerts []struct {
			Name   string `json:"alertname"`
			Expect []any  `json:"exp_alerts"`
		} `json:"alert_rule_test"`
	}
	var tests []test
	for _, name := range ruleTests() {
		var file struct{ Tests []test }
		read(t, name, &file)
		tests = append(tests, file.Tests...)
	}
	fires, clears := map[string]bool{}, map[string]bool{}
	for _, test := range tests {
		for _, a := range test.Alerts {
			fires[a.Name] = fires[a.Name] || len(a.Expect) > 0
			clears[a.Name] = clears[a.Name] || fires[a.Name] && len(a.Expect) == 0
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] || !clears[a.Alert] {
			t.Errorf("%s: tested to fire: %v, to clear after that: %v", a.Alert, fires[a.Alert], clears[a.Alert])
		}
	}
}

// Who is woken finds a runbook that says what it means, where to look, what to do, and whether it can wait; and there is none for
// nothing.
func TestRunbooks_eachAlertHasOne(t *testing.T) {
	const page = "https://github.com/podman-swarm/podman-swarm/blob/main/integration/monitoring/runbooks.md#"
	sections := map[string]string{}
	for _, s := range strings.Split("\n"+string(text(t, "runbooks.md")), "\n### ")[1:] {
		name, body, _ := strings.Cut(s, "\n")
		sections[name], _, _ = strings.Cut(body, "\n## ")
	}
	for _, a := range alerts(t) {
		body, ok := sections[a.Alert]
		if delete(sections, a.Alert); !ok {
			t.Errorf("%s: runbooks.md has no section of that name", a.Alert)
		}
		for _, part := range []string{"**Means**: ", "**Look**: ", "**Do**: ", "**Can wait**"} {
			if ok && strings.Count(body, part) != 1 {
				t.Errorf("%s: its runbook has %q %d times, want it once", a.Alert, part, strings.Count(body, part))
			}
		}
		if got, want := a.Annotations["runbook_url"], page+strings.ToLower(a.Alert); got != want {
			t.Errorf("%s: got runbook_url %s, want %s", a.Alert, got, want)
		}
		if !slices.Contains([]string{"critical", "warning", "info"}, a.Labels["severity"]) || a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s: wants a severity, a summary and a description: %v %v", a.Alert, a.Labels, a.Annotations)
		}
	}
	for name := range sections {
		t.Errorf("runbooks.md: no alert is called %s", name)
	}
}

// What is recorded is named by Prometheus' convention, level:metric:operation, looked at by an alert, a panel or who reads README.md, and it is tested
// what it comes to.
func TestRules_recorded(t *testing.T) {
	name := regexp.MustCompile(`^(instance|job):podman_swarm_[a-z_]+:[a-z0-9_]+$`)
	used := string(text(t, "../../README.md"))
	for _, a := range alerts(t) {
		used += "\n" + a.Expr
	}
	for _, p := range board(t).Panels {
		for _, q := range p.Targets {
			used += "\n" + q.Expr
		}
	}
	tested := map[string]bool{}
	for _, file := range ruleTests() {
		var all struct {
			Tests []struct {
				Exprs []struct {
					Expr    string
					Samples []any `json:"exp_samples"`
				} `json:"promql_expr_test"`
			}
		}
		read(t, file, &all)
		for _, test := range all.Tests {
			for _, e := range test.Exprs {
				record := strings.TrimSuffix(strings.TrimPrefix(e.Expr, "round("), ", 0.001)") // a sum's last digit depends on the order
				tested[record] = tested[record] || len(e.Samples) > 0
			}
		}
	}
	for _, r := range rules(t) {
		if r.Record == "" {
			continue
		}
		if !name.MatchString(r.Record) {
			t.Errorf("%s: want level:metric:operation", r.Record)
		}
		if !strings.Contains(used, r.Record) {
			t.Errorf("%s: no alert, no panel and no line of README.md uses it", r.Record)
		}
		if !tested[r.Record] {
			t.Errorf("%s: no promql_expr_test says what it comes to", r.Record)
		}
	}
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	GridPos     struct{ H, W, X, Y int }
	Datasource  struct{ Type, UID string }
	Targets     []struct {
		RefID      string `json:"refId"`
		Expr       string
		Datasource struct{ Type, UID string }
	}
}

type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Panels        []panel
	Templating    struct {
		List []struct{ Name, Type string }
	}
}

func board(t *testing.T) (d dashboard) {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text(t, "dashboard.json")))
	if err := dec.Decode(&d); err != nil {
		t.Fatal(err)
	}
	return d
}

// What Grafana wants of a dashboard: ids that are unique, panels that do not lie upon each other, a data source that can be chosen.
func TestDashboard_isOne(t *testing.T) {
	d := board(t)
	if d.UID == "" || d.Title == "" || d.SchemaVersion < 36 {
		t.Errorf("got uid %q, title %q, schema version %d, want all, and 36 or later", d.UID, d.Title, d.SchemaVersion)
	}
	for i, want := range []struct{ name, typ string }{{"datasource", "datasource"}, {"job", "query"}, {"instance", "query"}} {
		if i >= len(d.Templating.List) || d.Templating.List[i].Name != want.name || d.Templating.List[i].Type != want.typ {
			t.Fatalf("got variables %+v, want datasource, job, instance", d.Templating.List)
		}
	}
	ids := map[int]string{}
	for i, p := range d.Panels {
		if other, taken := ids[p.ID]; taken || p.ID <= 0 {
			t.Errorf("%s: id %d is that of %q as well, or none", p.Title, p.ID, other)
		}
		ids[p.ID] = p.Title
		if g := p.GridPos; g.W < 1 || g.H < 1 || g.X < 0 || g.Y < 0 || g.X+g.W > 24 {
			t.Errorf("%s: is not on the grid, which is 24 wide: %+v", p.Title, g)
		}
		for _, o := range d.Panels[:i] {
			a, b := p.GridPos, o.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s lies upon %s: %+v, %+v", p.Title, o.Title, a, b)
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || p.Datasource.UID != "${datasource}" || len(p.Targets) == 0 {
			t.Errorf("%s: wants a title, a description, the chosen data source, and a query: %+v", p.Title, p)
		}
		refs := map[string]bool{}
		for _, q := range p.Targets {
			if refs[q.RefID] || q.RefID == "" || q.Datasource.UID != "${datasource}" || !strings.Contains(q.Expr, `job=~"$job",instance=~"$instance"`) {
				t.Errorf("%s: query %q is of other hosts than the chosen ones, or is not unique: %s", p.Title, q.RefID, q.Expr)
			}
			refs[q.RefID] = true
		}
	}
}

// One row for each question that people have.
func TestDashboard_oneRowForEachQuestion(t *testing.T) {
	questions := []string{"Are my hosts one?", "Is anything behind?", "Did the last recovery go well?", "Are my backups good?", "What changed?"}
	var rows []string
	answers := map[string]int{}
	for _, p := range board(t).Panels {
		if p.Type == "row" {
			rows = append(rows, p.Title)
		} else if len(rows) > 0 {
			answers[rows[len(rows)-1]]++
		}
	}
	if !slices.Equal(rows, questions) {
		t.Errorf("got rows %q, want %q", rows, questions)
	}
	for _, q := range questions {
		if answers[q] < 3 {
			t.Errorf("%s has %d panels", q, answers[q])
		}
	}
}
