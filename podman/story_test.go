package podman_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/events/manifest"
	"github.com/podman-swarm/podman-swarm/projection"
	"github.com/podman-swarm/podman-swarm/projection/placement"
)

var update = flag.Bool("update", false, "write down what the stories in testdata come to")

// TestStories has hosts live through the stories in testdata, which tell where replicas run, what moves them, and when a container goes: §10 to §12
// of the design, each rule with the case in which it does not hold. Every host decides and acts by itself, by what it has heard: its own
// ledger, placement.Decider and Reconciler, on a Podman that is a Fake, in time that costs nothing. A line that begins with ">" is
// what the line before came to: the seconds since the beginning, the host, what it decided or did.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				got := tellStory(t, string(b))
				if *update {
					if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
						t.Fatal(err)
					}
				} else if got != string(b) {
					t.Errorf("it went otherwise; see what with: go test ./podman -run TestStories -update && git diff. It is now\n%s", got)
				}
			})
		})
	}
}

func tellStory(t *testing.T, script string) string {
	s := &street{t: t, began: time.Now(), deaf: map[[2]string]bool{}}
	defer func() {
		for _, h := range s.hosts {
			h.end()
		}
	}()
	var out strings.Builder
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, ">") {
			continue
		}
		out.WriteString(line)
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			s.do(words)
			s.pass(0)
			out.WriteString(s.told())
		}
	}
	return out.String()
}

// do does what a line of a story says.
func (s *street) do(words []string) {
	if h := s.host(words[0]); h != nil && len(words) > 1 {
		s.at(h, words[1], words[2:])
		return
	}
	switch words[0] {
	case "hosts":
		for _, name := range words[1:] {
			s.add(name)
		}
		s.pass(15 * time.Second) // they find each other, and recover
		s.told()
	case "split": // a b | c
		sides := strings.Split(strings.Join(words[1:], " "), "|")
		for _, x := range s.hosts {
			for _, y := range s.hosts {
				one := slices.ContainsFunc(sides, func(side string) bool {
					return slices.Contains(strings.Fields(side), x.name) && slices.Contains(strings.Fields(side), y.name)
				})
				s.deaf[[2]string{x.name, y.name}] = !one
			}
		}
	case "cut": // one link of many
		s.deaf[[2]string{words[1], words[2]}], s.deaf[[2]string{words[2], words[1]}] = true, true
	case "heal":
		clear(s.deaf)
	case "run":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.pass(d)
	case "show": // where everything is, as the host sees it; the first, if none is named
		s.show(append(words, s.hosts[0].name)[1])
	default:
		s.t.Fatalf("nobody knows what %q is", words)
	}
}

// at does something at a host.
func (s *street) at(h *resident, what string, words []string) {
	switch what {
	case "apply": // NAME REPLICAS, and [image:IMAGE] or [writes:FOLDER]
		n, err := strconv.Atoi(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		h.record(projection.Change{Kind: events.Declared, Key: projection.DeploymentKey("default", words[0]), Object: deployment(s.t, words[0], n, words[2:])})
	case "delete":
		h.record(projection.Change{Kind: events.Declared, Key: projection.DeploymentKey("default", words[0])})
	case "cordon", "drain", "down", "uncordon":
		n := projection.Node{Unschedulable: what == "cordon" || what == "drain", Draining: what == "drain"}
		if what == "down" {
			n.Down = time.Now().UTC()
		}
		h.record(projection.Change{Kind: events.Declared, Key: projection.NodeKey(words[0]), Object: projection.Encode(n)})
	case "stop": // as SIGTERM does: it says that it means to come back
		h.saysHost(func(f *projection.Host) { f.Left = time.Now().UTC() })
		s.pass(2 * time.Second)
		h.end()
	case "crash": // its agent, and no container
		h.end()
	case "dies": // all of it
		h.end()
		h.fake.Reboot()
	case "lose": // its log
		h.fresh()
	case "start":
		h.start()
	case "has": // an image that the others lack
		h.fake.AddImage(words[0], "")
	case "exit":
		for _, c := range h.fake.Containers() {
			if strings.Contains(c.Name, words[0]) {
				h.fake.Exit(c.Name, 1)
			}
		}
	default:
		s.t.Fatalf("no host does %q", what)
	}
}

// show tells where the host sees each replica placed, how it is by what it knows, and why it is not moved; and of each host what does run on it.
func (s *street) show(by string) {
	h := s.host(by)
	st := h.ledger.View().State
	stuck := placement.Stuck(st, placement.Cluster{Host: h.name, Peers: h.now, Now: time.Now()})
	for o := range st.All("deployment/") {
		seen, err := placement.AsSeen(st, o, st.HeardBy(h.name).Silent, time.Now())
		if err != nil {
			s.t.Fatal(err)
		}
		for _, p := range seen.Replicas {
			text := fmt.Sprintf("sees %s on %s", p.Name(), p.Host)
			switch {
			case !p.Silent.IsZero():
				text += ", unknown"
			case p.Ready:
				text += ", ready"
			}
			if why := stuck[p.Pod]; why != "" {
				text += ", " + s.clockless(why)
			}
			s.tell(h.name, text)
		}
	}
	for _, h := range s.hosts {
		var runs []string
		for _, c := range h.fake.Containers() {
			if c.Status.Runs() {
				runs = append(runs, podOf(c))
			}
		}
		slices.Sort(runs)
		s.tell(h.name, "runs "+strings.Join(runs, " "))
	}
}

func deployment(t *testing.T, name string, replicas int, with []string) []byte {
	n, labels := int32(replicas), map[string]string{"app": name}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	d.Spec.Replicas, d.Spec.Selector = &n, &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	c := corev1.Container{Name: "c", Image: image, ImagePullPolicy: corev1.PullIfNotPresent}
	for _, w := range with {
		switch what, value, _ := strings.Cut(w, ":"); what {
		case "image":
			c.Image = value
		case "writes":
			c.VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
			d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: value}}}}
		default:
			t.Fatalf("no Deployment has %q", w)
		}
	}
	d.Spec.Template.Spec.Containers = []corev1.Container{c}
	manifest.Default(d)
	b, err := manifest.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
