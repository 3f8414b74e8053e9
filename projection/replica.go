package projection

import (
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

// The types of object that agents themselves state facts about: the first part of the key.
const (
	PlacementType = "placement" // placement/NAMESPACE/DEPLOYMENT/ORDINAL: decided
	ReplicaType   = "replica"   // replica/NAMESPACE/DEPLOYMENT/ORDINAL/HOST: observed, by that host alone
	HostType      = "host"      // host/NAME: observed, by that host alone
	RecoveryType  = "recovery"  // recovery/HOST: observed, by that host alone
)

// Pod names one replica of a Deployment. The ordinal is a name, not a rank: a roll-out leaves gaps.
type Pod struct {
	Namespace, Deployment string
	Ordinal               int
}

// Name is the replica's name within its namespace: "nginx-0".
func (p Pod) Name() string { return p.Deployment + "-" + strconv.Itoa(p.Ordinal) }

// Compare orders pods by namespace, Deployment and ordinal.
func (p Pod) Compare(o Pod) int {
	return cmp.Or(cmp.Compare(p.Namespace, o.Namespace), cmp.Compare(p.Deployment, o.Deployment), cmp.Compare(p.Ordinal, o.Ordinal))
}

// PlacementKey is the key under which it stands where the pod runs.
func (p Pod) PlacementKey() string { return p.key(PlacementType) }

// ReplicaKey is the key under which the host says how its container of the pod is doing.
func (p Pod) ReplicaKey(host string) string { return p.key(ReplicaType) + "/" + host }

func (p Pod) key(typ string) string {
	return typ + "/" + p.Namespace + "/" + p.Deployment + "/" + strconv.Itoa(p.Ordinal)
}

// PodOf is the pod that a placement's or replica's key is about, and of a replica's key the host; false for other
// keys.
func PodOf(key string) (p Pod, host string, ok bool) {
	parts := strings.Split(key, "/")
	switch {
	case len(parts) == 4 && parts[0] == PlacementType:
	case len(parts) == 5 && parts[0] == ReplicaType:
		host = parts[4]
	default:
		return Pod{}, "", false
	}
	n, err := strconv.Atoi(parts[3])
	return Pod{parts[1], parts[2], n}, host, err == nil
}

// PodNamed is the pod of that name. No two pods of a namespace have one name, since the ordinal is what follows the
// last dash.
func PodNamed(namespace, name string) (Pod, bool) {
	i := strings.LastIndexByte(name, '-')
	if i <= 0 {
		return Pod{}, false
	}
	p := Pod{Namespace: namespace, Deployment: name[:i]}
	n, err := strconv.Atoi(name[i+1:])
	p.Ordinal = n
	return p, err == nil && p.Name() == name
}

// Placement is a decision: this pod runs on that host, from that template. The id of the event that took it (not of
// the first for that pod, but of the newest) names it, stands on the container as a label, and in what the host says
// of the container.
type Placement struct {
	Host     string          `json:"host"`      // "" when no host can take it; Why says why
	Owner    events.ID       `json:"owner"`     // uid of the Deployment
	SpecHash string          `json:"spec_hash"` // made once, over the recorded bytes of the template; only ever compared
	Template json.RawMessage `json:"template"`  // corev1.PodTemplateSpec, as recorded with the Deployment
	Why      string          `json:"why"`       // for people
	// Moves is how often in a row the pod got another host because its host was gone, and Moved when it last did: each
	// time it stays longer before it does again.
	Moves int       `json:"moves,omitempty"`
	Moved time.Time `json:"moved,omitzero"`
	// Was are the events that have taken this very decision before, each of which was given up and recorded again as the next: by these
	// its container is labelled, and by these its host may still speak of it.
	Was []events.ID `json:"was,omitempty"`
}

// Placed is a placement as the state shows it.
type Placed struct {
	Object
	Pod
	Placement
}

// Event is the id of the event that took the decision.
func (p *Placed) Event() events.ID { return p.Object.Stamp.ID }

// Is reports whether the event took the decision, or did so before it was given up and recorded again.
func (p *Placed) Is(id events.ID) bool { return p.Event() == id || slices.Contains(p.Was, id) }

// Phase is how a replica is doing.
type Phase string

// The phases of a replica. There is none for a container that is gone: then nothing is said of it.
const (
	Pending Phase = "Pending" // wanted; not yet started, or cannot be: Reason and Message say why
	Running Phase = "Running"
	Exited  Phase = "Exited" // ended by itself or by a signal; will be started again
)

// Replica is what a host says of its container of one pod.
type Replica struct {
	Placement events.ID `json:"placement"` // the event whose decision the container carries out
	Phase     Phase     `json:"phase"`
	Reason    string    `json:"reason,omitempty"`    // one word, as Kubernetes has it: ImagePullBackOff, CrashLoopBackOff, …
	Message   string    `json:"message,omitempty"`   // for people
	Container string    `json:"container,omitempty"` // id of the container; "" before it is made
	Name      string    `json:"name,omitempty"`      // of the container
	Image     string    `json:"image,omitempty"`     // id of the image
	IP        string    `json:"ip,omitempty"`        // of the container, on its host
	Ports     []Port    `json:"ports,omitempty"`
	Restarts  int       `json:"restarts,omitempty"` // by the agent
	ExitCode  int       `json:"exit_code,omitempty"`
	OOMKilled bool      `json:"oom_killed,omitempty"`
	Started   time.Time `json:"started,omitzero"`
	// Boot tells by which start of its host's kernel the container ran: once the host has another, that run is over, whatever the clocks
	// say. "" where that is not known.
	Boot     string    `json:"boot,omitempty"`
	Finished time.Time `json:"finished,omitzero"` // of the last run that ended
	// Unready is why it takes no requests although it runs, in a probe's words; "" when it does, and when nothing asks it.
	Unready string `json:"unready,omitempty"`
	// Readied is when it last became ready after it ran and was not; zero when it never was: it has been since Started then.
	Readied time.Time `json:"readied,omitzero"`
	// Others are the pod's other containers by name, init containers included; nil where there is one container. All above is of the first
	// container, but for Unready and Readied, which are of the pod: it is ready when all its containers are. None of Others has any.
	Others map[string]Replica `json:"others,omitempty"`
}

// ofAnother begins what Unready says of a pod whose first container is ready, and another is not.
const ofAnother = "container "

// Part is what the host says of one container of the pod by itself: of the first for "", else of the other of that name. nil: it says nothing.
func (r *Replica) Part(name string) *Replica {
	if r == nil {
		return nil
	}
	if name != "" {
		part, ok := r.Others[name]
		if !ok {
			return nil
		}
		return &part
	}
	first := *r
	if first.Others = nil; strings.HasPrefix(r.Unready, ofAnother) {
		first.Unready = ""
	}
	return &first
}

// Whole is what there is to say of a pod whose first container is as said and that has these others. It takes no requests before each of
// those that are to run does, and has since then. was is what was said of it before, nil for nothing; now is when it has become ready, if it just has.
func (r *Replica) Whole(others map[string]Replica, run []string, since time.Time, was *Replica, now time.Time) *Replica {
	whole := *r
	if whole.Others = others; len(others)+len(run) == 0 {
		return &whole
	}
	for _, name := range run {
		if whole.Phase != Running || whole.Unready != "" {
			break
		}
		switch part, ok := others[name]; {
		case !ok:
			whole.Unready = ofAnother + name + ": it is not there yet"
		case part.Phase != Running:
			whole.Unready = ofAnother + name + ": " + cmp.Or(part.Reason, string(part.Phase))
		case part.Started.Before(since):
			whole.Unready = ofAnother + name + ": it has to be started again"
		case part.Unready != "":
			whole.Unready = ofAnother + name + ": " + part.Unready
		}
	}
	if whole.Readied = (time.Time{}); was != nil {
		whole.Readied = was.Readied
	}
	if whole.ready() && (was == nil || !was.ready()) {
		whole.Readied = now
	}
	return &whole
}

func (r *Replica) ready() bool { return r.Phase == Running && r.Unready == "" }

// Port is a port of a container and where its host publishes it.
type Port struct {
	Name      string `json:"name,omitempty"`
	Container int    `json:"container"`
	Host      int    `json:"host"`
	HostIP    string `json:"host_ip,omitempty"`
	Protocol  string `json:"protocol"` // TCP, UDP, SCTP
}

// Host is what a host says of itself.
type Host struct {
	Cluster string            `json:"cluster,omitempty"` // name of the cluster that its containers are labelled with
	Address string            `json:"address,omitempty"` // where other hosts and users reach its containers
	Labels  map[string]string `json:"labels,omitempty"`
	CPUs    int               `json:"cpus"`
	Memory  int64             `json:"memory"` // bytes
	Version string            `json:"version"`
	Podman  string            `json:"podman,omitempty"` // version of its Podman service; "" when it cannot be reached
	OS      string            `json:"os,omitempty"`
	Kernel  string            `json:"kernel,omitempty"`
	Arch    string            `json:"arch,omitempty"`
	Started time.Time         `json:"started"`        // the agent
	Boot    string            `json:"boot,omitempty"` // of its kernel, as Replica.Boot; another one after each reboot
	// Left is when the agent was told to stop and said so: it means to come back. Zero while it runs, and when it ended
	// without a word.
	Left time.Time `json:"left,omitzero"`
	// Off says of a host that has left that all of it is about to end, and its containers with it.
	Off bool `json:"off,omitempty"`
	// ReadOnly says why the host's log takes nothing; "" when it does.
	ReadOnly string `json:"read_only,omitempty"`
	// ServiceCIDR is of what network Services have their addresses there; "" where they have none, and where an older agent does not say it.
	ServiceCIDR string `json:"service_cidr,omitempty"`
}

// HostKey is the key under which a host speaks of itself.
func HostKey(name string) string { return HostType + "/" + name }

// RecoveryKey is the key under which a host tells of its last recovery.
func RecoveryKey(host string) string { return RecoveryType + "/" + host }

// Recovery is the report of one recovery: what an agent found when it started, and did about it.
type Recovery struct {
	Started  time.Time          `json:"started"`
	Done     time.Time          `json:"done,omitzero"`  // zero while it goes on
	Replayed uint64             `json:"replayed"`       // events folded from the log
	Adopted  int                `json:"adopted"`        // ran as recorded, and were left alone
	Restart  int                `json:"started_again"`  // had exited, and were started
	Created  int                `json:"created"`        // were missing, or broken, and were made anew
	Removed  int                `json:"removed"`        // were known to be over
	Orphans  int                `json:"orphans"`        // containers of ours that nothing explains; left running
	Failed   int                `json:"failed"`         // could not be done yet; still being tried
	Bounced  int                `json:"bounced"`        // ran as recorded and were stopped all the same; must be 0
	Seconds  map[string]float64 `json:"seconds"`        // by phase: replay, settle, adopt, act
	More     int                `json:"more,omitempty"` // starts of the agent since the one told of before, which no event tells of
}

// Encode is the compact JSON of one of the types above, for a Change.
func Encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil { // these are structs of texts, numbers and times, with templates that came out of the log
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return b
}

// Placements gives the placements whose key begins as prefix says ("" for all of them, "default/nginx/" for one
// Deployment's), in key order. The error names the placement that could not be read; the others are still given.
func (s *State) Placements(prefix string) iter.Seq2[*Placed, error] {
	return func(yield func(*Placed, error) bool) {
		for o := range s.All(PlacementType + "/" + prefix) {
			if p, err := AsPlacement(o); !yield(p, err) {
				return
			}
		}
	}
}

// Placement is the placement of one pod; nil when there is none.
func (s *State) Placement(p Pod) (*Placed, error) {
	o, ok := s.Lookup(p.PlacementKey())
	if !ok {
		return nil, nil
	}
	return AsPlacement(o)
}

// AsPlacement reads a placement.
func AsPlacement(o Object) (*Placed, error) {
	p := &Placed{Object: o}
	var ok bool
	if p.Pod, _, ok = PodOf(o.Key); !ok {
		return nil, fmt.Errorf("placement %s: not the key of a pod", o.Key)
	}
	if err := json.Unmarshal(o.Version.Object, &p.Placement); err != nil {
		return nil, fmt.Errorf("placement %s: %w", o.Key, err)
	}
	return p, nil
}

// Replica is what the host of the placement says of its container: nil when it has said nothing of this very
// placement yet.
func (s *State) Replica(p *Placed) (*Replica, error) {
	o, ok := s.Lookup(p.ReplicaKey(p.Host))
	if !ok {
		return nil, nil
	}
	r := &Replica{}
	if err := json.Unmarshal(o.Version.Object, r); err != nil {
		return nil, fmt.Errorf("replica %s: %w", o.Key, err)
	}
	if !p.Is(r.Placement) {
		return nil, nil
	}
	return r, nil
}

// DeploymentKey is the key of a Deployment.
func DeploymentKey(namespace, name string) string { return "deployment/" + namespace + "/" + name }
