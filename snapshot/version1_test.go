package snapshot

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What the original wrote, as its files are: each is read whole, or refused; what cannot be declared is named with the
// reason. Failure A.23: "default/x": null panics.
func TestReadVersion1(t *testing.T) {
	for name, want := range map[string]string{
		"01-empty":                         "",
		"02-example-1node":                 "deployment/default/nginx-deployment ingress/default/nginx-ingress service/default/nginx-service",
		"03-deployment-only-pods-empty":    "deployment/default/nginx-deployment",
		"10-agent-failed-apply-3-replicas": "deployment/default/nginx-deployment",
		"04-rich-3nodes-pods-map": "deployment/default/nginx-deployment deployment/default/nonamespace deployment/staging/web deployment/staging/zero " +
			"ingress/default/nginx-ingress service/default/nginx-service service/default/web service/default/web-np service/staging/headless" +
			" - deployment/default/web: … ingress/default/web: …",
		"20-torn-half":            "!",
		"21-zero-length":          "!",
		"24-json-null":            "!",
		"29-doc-style-STORAGE.md": " - deployment/default/nginx: … service/default/nginx-service: … ingress/default/nginx-ingress: …",
	} {
		data, err := os.ReadFile(filepath.Join("testdata", "version1", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		all, refused, err := ReadVersion1(data)
		maps.DeleteFunc(all, func(_ string, o json.RawMessage) bool { return o == nil })
		got := strings.Join(slices.Sorted(maps.Keys(all)), " ")
		for i, r := range refused {
			if i == 0 {
				got += " -"
			}
			got += " " + r.Key + ": …"
			t.Logf("%s: %s: %s", name, r.Key, r.Why)
		}
		if err != nil {
			got = "!"
			if !errors.Is(err, ErrNotVersion1) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, want)
		}
		for key, o := range all {
			t.Logf("%s %.300s", key, o)
		}
	}
}
