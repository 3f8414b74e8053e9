package api

import (
	"strings"
	"testing"

	"github.com/podman-swarm/podman-swarm/snapshot/seal"
)

// A sealed backup that no key here opens cannot be compared with here: that is said, with the command that can where the key is.
func TestDiff_sealed(t *testing.T) {
	a := restoring(t, func(s *Server) {
		var f seal.For
		if err := f.Add("age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"); err != nil {
			t.Fatal(err)
		}
		s.Backups.For = f
	})
	a.want(200, "POST", "/api/v1/manifests", env(1, 1, "a"))
	name := a.want(201, "POST", "/swarm/v1/backups", "").field("name")
	for _, query := range []string{"from=" + name, "from=now&to=" + name} {
		if got := a.want(409, "GET", "/swarm/v1/diff?"+query, ""); !strings.Contains(string(got.body), "psctl restore "+name+" --dry-run --identity FILE") {
			t.Errorf("%s: got %s", query, got.body)
		}
	}
	a.want(404, "GET", "/swarm/v1/diff?from=state-backup-20200101-000000.json", "")
}
