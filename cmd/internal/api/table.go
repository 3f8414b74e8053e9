package api

import (
	"mime"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
)

// table is how objects of a kind are answered as what kubectl get prints: a meta.k8s.io Table, whose cells the server fills, so that every kubectl
// shows the columns of what it talks to. See https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables.
type table struct {
	version string // of meta.k8s.io: v1 or v1beta1
	columns []column
	object  metav1.IncludeObjectPolicy
	begun   bool // the columns have been told: a watch tells them once
}

// column is one column of a kind.
type column struct {
	name string
	typ  string // "": string
	wide bool   // only with -o wide
	cell func(o object, now time.Time) any
}

// tabled is the table that the client would rather have than objects; nil when it would not.
func (q *request) tabled(r *resource) *table {
	for _, clause := range strings.Split(strings.Join(q.Header.Values("Accept"), ","), ",") {
		typ, params, err := mime.ParseMediaType(clause)
		if err != nil || typ != "application/json" {
			continue
		}
		switch {
		case params["as"] == "":
			return nil
		case params["as"] == "Table" && params["g"] == metav1.GroupName && (params["v"] == "v1" || params["v"] == "v1beta1"):
			return &table{version: params["v"], columns: columns(r.kind), object: metav1.IncludeObjectPolicy(q.URL.Query().Get("includeObject"))}
		}
	}
	return nil
}

// of is the objects as rows.
func (t *table) of(version string, now time.Time, all ...object) *metav1.Table {
	group := metav1.GroupName + "/" + t.version
	to := &metav1.Table{TypeMeta: metav1.TypeMeta{Kind: "Table", APIVersion: group}, ListMeta: metav1.ListMeta{ResourceVersion: version},
		Rows: []metav1.TableRow{}}
	if !t.begun {
		for _, c := range t.columns {
			d := metav1.TableColumnDefinition{Name: c.name, Type: "string"}
			if c.typ != "" {
				d.Type = c.typ
			}
			if c.name == "Name" {
				d.Format = "name"
			}
			if c.wide {
				d.Priority = 1
			}
			to.ColumnDefinitions = append(to.ColumnDefinitions, d)
		}
		t.begun = true
	}
	for _, o := range all {
		row := metav1.TableRow{}
		for _, c := range t.columns {
			row.Cells = append(row.Cells, c.cell(o, now))
		}
		switch t.object {
		case metav1.IncludeNone:
		case metav1.IncludeObject:
			row.Object = runtime.RawExtension{Object: o}
		default:
			part := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{Kind: "PartialObjectMetadata", APIVersion: group}}
			if m, ok := o.(metav1.ObjectMetaAccessor).GetObjectMeta().(*metav1.ObjectMeta); ok {
				part.ObjectMeta = *m
			}
			row.Object = runtime.RawExtension{Object: part}
		}
		to.Rows = append(to.Rows, row)
	}
	return to
}

// tell answers with one object, in the form that the client would have.
func (q *request) tell(r *resource, o object) error {
	if t := q.tabled(r); t != nil {
		return q.json(http.StatusOK, t.of(o.GetResourceVersion(), q.s.now(), o))
	}
	return q.json(http.StatusOK, o)
}

func ageOf(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(max(0, now.Sub(t.Time)))
}
