package podman

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/podman-swarm/podman-swarm/projection"
)

// What an Engine's error may be, as far as anybody acts upon it. The text around it is Podman's own.
var (
	// ErrUnavailable: Podman itself could not be reached, so nothing is known of the request's outcome.
	ErrUnavailable = errors.New("no answer from Podman")
	// ErrNotFound: there is no such container, image or volume.
	ErrNotFound = errors.New("not found")
	// ErrNameInUse: a container has that name, or something in Podman's storage that it no longer knows as one.
	ErrNameInUse = errors.New("the name is in use")
	// ErrPortInUse: a host port that the container wants is somebody else's.
	ErrPortInUse = errors.New("a host port is in use")
)

// Engine is what the Reconciler needs of Podman. All methods may be called from any goroutine. They return when
// Podman has answered, or with an error when ctx ends; what Podman does then is not known, and each can be called
// again. An error wraps one of the sentinels above where one applies.
type Engine interface {
	// Info says what Podman and its host are.
	Info(ctx context.Context) (Info, error)

	// List gives all containers, running or not, that have the label with this very value; all that there are, whoever made
	// them, where the label is "". Of each it leaves out what Container says that only Inspect knows.
	List(ctx context.Context, label, value string) ([]Container, error)
	// Inspect gives one container by id or name.
	Inspect(ctx context.Context, container string) (Container, error)
	// Create makes a container and returns its id. It is not started. The image must be there, and volumes that are
	// not are made.
	Create(ctx context.Context, spec *Spec) (id string, err error)
	// Start starts a container; one that runs is left alone.
	Start(ctx context.Context, container string) error
	// Stop sends the stop signal and, once the grace period is over, SIGKILL; a grace of 0 is the container's own, any other
	// counts in whole seconds. On return the container does not run. One that does not run, or is not there, is no error.
	Stop(ctx context.Context, container string, grace time.Duration) error
	// Remove removes a container, killing it when it runs; its named volumes stay, and those go that Podman made by itself
	// because the image wants them. One that is not there is no error.
	Remove(ctx context.Context, container string) error
	// Exec runs a command in a container that runs, as the container's user and in its environment, and gives its exit code
	// and the beginning of what it wrote once it has ended. begun is called as soon as the command has been started. That
	// ctx ends does not end the command. One that is not to be found is a Refusal, or an exit code of 126 or 127.
	Exec(ctx context.Context, container string, command []string, begun func()) (code int, output string, err error)
	// Logs gives what the container has written, in chunks of whole lines. The caller must close it.
	Logs(ctx context.Context, container string, o LogOptions) (io.ReadCloser, error)

	// Image gives an image that is on this host.
	Image(ctx context.Context, name string) (Image, error)
	// Pull fetches an image from its registry, newer or not. It is on this host on return.
	Pull(ctx context.Context, name string) error

	// CreateVolume makes an empty volume that belongs to owner, a UID or UID:GID in numbers; "" is for Podman to decide.
	// One of that name that is there is left alone.
	CreateVolume(ctx context.Context, name, owner string, labels map[string]string) error
	// Volumes gives all volumes that have the label with this very value.
	Volumes(ctx context.Context, label, value string) ([]Volume, error)
	// RemoveVolume removes a volume that no container uses. One that is not there is no error.
	RemoveVolume(ctx context.Context, name string) error

	// Events calls hint after something happened to a container that has the label with this very value, until ctx
	// ends or the stream breaks, which is always an error. Hints may be lost or be too many: List is the truth.
	Events(ctx context.Context, label, value string, hint func()) error
}

// Container is what Podman says of a container.
type Container struct {
	ID, Name string
	Labels   map[string]string
	Status   Status
	Image    string // id
	Created  time.Time
	Started  time.Time // of the newest run, zero before the first; List knows whole seconds only
	Finished time.Time // of the newest run that ended; List knows whole seconds only
	ExitCode int       // of the newest run that ended
	Ports    []projection.Port

	// Only Inspect knows these.
	OOMKilled bool
	IP        string
	Grace     time.Duration // between the stop signal and SIGKILL
}

// Status is the word that Podman has for what a container is doing.
type Status string

// The statuses that matter here. There are others.
const (
	StatusCreated  Status = "created"
	StatusRunning  Status = "running"
	StatusPaused   Status = "paused"
	StatusStopping Status = "stopping"
	StatusStopped  Status = "stopped" // ended, and not cleaned up after yet
	StatusExited   Status = "exited"
	StatusRemoving Status = "removing" // a removal has begun, and may never have ended
)

// Runs reports whether the container's program is there. Of a word that is not known it must be assumed: another version
// of Podman may say it of what runs.
func (s Status) Runs() bool { return !s.Ended() && !s.fresh() && s != StatusRemoving }

// fresh reports whether the container has not been started yet.
func (s Status) fresh() bool { return s == StatusCreated || s == "initialized" || s == "configured" }

// Ended reports whether the container's program ran, and is there no more.
func (s Status) Ended() bool { return s == StatusExited || s == StatusStopped }

// Image is what matters of an image.
type Image struct {
	ID   string
	User string // whom its program runs as, "" for root
}

// Volume is what matters of a volume.
type Volume struct {
	Name   string
	Labels map[string]string
}

// Info is what Podman says of itself and of its host.
type Info struct {
	Version          string // of Podman
	CPUs             int
	Memory           int64 // bytes
	OS, Kernel, Arch string
}

// LogOptions choose from what a container has written.
type LogOptions struct {
	Follow     bool
	Timestamps bool      // before each line, RFC 3339
	Since      time.Time // zero: from the start
	Tail       int       // only the last lines, when Limit says so
	Limit      bool
}
