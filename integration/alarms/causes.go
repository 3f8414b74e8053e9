package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/podman-swarm/podman-swarm/integration/podmanhost"
	"github.com/podman-swarm/podman-swarm/integration/trial"
)

// on wants an alert of that instance.
func on(alert string, n int) want {
	return want{"PodmanSwarm" + alert, map[string]string{"instance": fmt.Sprintf("h%d", n)}}
}

// of wants an alert about that peer, whoever says it.
func of(alert string, n int) want {
	return want{"PodmanSwarm" + alert, map[string]string{"peer": fmt.Sprintf("h%d", n)}}
}

// from wants an alert in which an instance says something of a peer.
func from(alert string, n, peer int) want {
	return want{"PodmanSwarm" + alert, map[string]string{"instance": fmt.Sprintf("h%d", n), "peer": fmt.Sprintf("h%d", peer)}}
}

// about wants an alert that names that host: of two who do not get on with each other either may say it.
func about(alert string, n int) want {
	return want{"PodmanSwarm" + alert, map[string]string{either: fmt.Sprintf("h%d", n)}}
}

// all wants an alert about the cluster.
func all(alert string) want {
	return want{"PodmanSwarm" + alert, map[string]string{"job": job}}
}

// phases are all that goes wrong, in order. What befalls at the same time does not get in each other's way.
func (t *trying) phases() []phase {
	return []phase{
		{"containers, and a wire that is cut one way", []cause{t.nowhere(), t.crashing(), t.noImage(), t.stray(), t.oneWay()}},
		{"Services and Ingresses", []cause{t.badIngress(), t.noResolver()}},
		{"disks", []cause{t.noStateFile(), t.noAuditFile(), t.slowDisk(), t.fullDisk()}},
		{"backups", []cause{t.backupsFail(), t.copiesFail(), t.notPruned()}},
		{"a split", []cause{t.split()}},
		{"two changes of one object, and a wire that is cut", []cause{t.conflict(), t.pair()}},
		{"agents that end", []cause{t.killed(), t.stopped(), t.alone()}},
		{"Podman", []cause{t.recoveryFails(), t.podmanStops(), t.recoveryWaits()}},
		{"agents that are wrong", []cause{t.certificate(), t.mistaken(), t.clock()}},
		{"an agent that is too old", []cause{t.older()}},
		{"a disk is put back", []cause{t.putBack()}},
	}
}

func (t *trying) nowhere() cause {
	return cause{name: "a Deployment that no host can take", wants: []want{all("ReplicasStuck")},
		begin: func(ctx context.Context) error {
			return apply(ctx, t.host(1), placed("nowhere", "none", podmanhost.Image1, 2, ""))
		},
		end: func(ctx context.Context) error { return remove(ctx, t.host(1), "Deployment", "nowhere") }}
}

func (t *trying) crashing() cause {
	return cause{name: "a program that ends at once, twelve times on h1", wants: []want{on("CrashLoop", 1)},
		begin: func(ctx context.Context) error {
			return apply(ctx, t.host(1), placed("crashing", "h1", podmanhost.Image1, 12, `"-exit-after=0s", "-exit-code=3"`))
		},
		end: func(ctx context.Context) error { return remove(ctx, t.host(1), "Deployment", "crashing") }}
}

func (t *trying) noImage() cause {
	return cause{name: "an image that is not to be had, on h2", wants: []want{on("ContainersNotRunning", 2)},
		begin: func(ctx context.Context) error {
			return apply(ctx, t.host(2), placed("no-image", "h2", "localhost/there-is-none:1", 1, ""))
		},
		end: func(ctx context.Context) error { return remove(ctx, t.host(2), "Deployment", "no-image") }}
}

func (t *trying) stray() cause {
	return cause{name: "a container with the agent's labels on h3, of which no log knows", wants: []want{on("Orphans", 3)},
		begin: func(ctx context.Context) error {
			args := []string{"run", "--detach", "--name", "stray"}
			for label, value := range map[string]string{"cluster": "alarms", "host": "h3", "namespace": "default", "pod": "stray-0",
				"placement": "00000000000000ab-7"} {
				args = append(args, "--label", "io.podman-swarm."+label+"="+value)
			}
			_, err := t.host(3).Podman.Podman(ctx, append(args, podmanhost.Image1)...)
			return err
		},
		end: func(ctx context.Context) error {
			_, err := t.host(3).Podman.Podman(ctx, "rm", "--force", "--time", "0", "stray")
			return err
		}}
}

func (t *trying) oneWay() cause {
	return cause{name: "nothing that h2 sends reaches h3", wants: []want{from("LinkBroken", 3, 2)},
		begin: func(context.Context) error { t.street.CutOneWay(1, 2); return nil },
		end:   t.heal}
}

func (t *trying) heal(context.Context) error {
	t.street.Heal()
	return nil
}

func (t *trying) pair() cause {
	return cause{name: "the wire between h1 and h2 is cut", wants: []want{from("LinkBroken", 1, 2), from("LinkBroken", 2, 1)},
		begin: func(context.Context) error { t.street.CutPair(0, 1); return nil },
		end:   t.heal}
}

func (t *trying) split() cause {
	return cause{name: "h3 is cut off from the others", wants: []want{on("FewInSight", 3), of("HostSilent", 3)},
		begin: func(context.Context) error { t.street.CutOff(2); return nil },
		end:   t.heal}
}

func (t *trying) conflict() cause {
	return cause{name: "one object is changed on both sides of a short split", wants: []want{all("Conflict")},
		begin: func(ctx context.Context) error {
			if err := apply(ctx, t.host(1), service("contested", 80, "")); err != nil {
				return err
			}
			if err := t.spread(ctx, "contested", 80); err != nil {
				return err
			}
			t.street.CutOff(2)
			err := errors.Join(apply(ctx, t.host(1), service("contested", 81, "")), apply(ctx, t.host(3), service("contested", 83, "")))
			t.street.Heal()
			return err
		},
		end: t.dismiss}
}

// dismiss ends all conflicts, as psctl conflicts dismiss does.
func (t *trying) dismiss(ctx context.Context) error {
	h := t.host(1)
	var all []struct{ Event string }
	if err := trial.JSON(ctx, h.Client(), h.URL()+"/swarm/v1/conflicts", &all); err != nil {
		return err
	}
	for _, c := range all {
		if _, err := trial.Do(ctx, h.Client(), http.MethodPost, h.URL()+"/swarm/v1/conflicts/"+c.Event+"/dismiss", ""); err != nil {
			return fmt.Errorf("dismiss conflict %s: %w", c.Event, err)
		}
	}
	return nil
}

// spread waits until all hosts have a Service with that port.
func (t *trying) spread(ctx context.Context, name string, port int) error {
	for _, h := range t.street.Hosts {
		err := until(ctx, time.Minute, func() error {
			var s struct {
				Spec struct{ Ports []struct{ Port int } }
			}
			if err := trial.JSON(ctx, h.Client(), h.URL()+"/api/v1/namespaces/default/services/"+name, &s); err != nil {
				return err
			}
			if len(s.Spec.Ports) != 1 || s.Spec.Ports[0].Port != port {
				return fmt.Errorf("%s has %v of Service %s, want port %d", h.Name, s.Spec.Ports, name, port)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *trying) killed() cause {
	return cause{name: "the agent of h2 is killed", wants: []want{on("AgentDown", 2), of("HostSilent", 2)},
		begin: func(ctx context.Context) error { return kill(ctx, t.host(2)) },
		end:   func(ctx context.Context) error { return up(ctx, t.host(2)) }}
}

func (t *trying) stopped() cause {
	return cause{name: "the agent of h3 is told to stop", wants: []want{on("AgentDown", 3), of("HostStopped", 3)},
		begin: func(ctx context.Context) error { return terminate(ctx, t.host(3)) },
		end:   func(ctx context.Context) error { return up(ctx, t.host(3)) }}
}

// alone is what comes of the two before.
func (t *trying) alone() cause {
	nothing := func(context.Context) error { return nil }
	return cause{name: "so h1 has lost the majority", wants: []want{on("FewInSight", 1)}, begin: nothing, end: nothing}
}

func (t *trying) podmanStops() cause {
	return cause{name: "the Podman service of h1 stops", wants: []want{on("PodmanDown", 1)},
		begin: func(ctx context.Context) error { return t.host(1).Podman.StopService(ctx) },
		end:   func(ctx context.Context) error { return t.host(1).Podman.StartService(ctx) }}
}

func (t *trying) recoveryWaits() cause {
	return cause{name: "the agent of h2 starts while its Podman does not run", wants: []want{on("RecoveryStuck", 2), on("PodmanDown", 2)},
		begin: func(ctx context.Context) error {
			h := t.host(2)
			if err := errors.Join(h.Podman.StopService(ctx), kill(ctx, h)); err != nil {
				return err
			}
			return start(h)
		},
		end: func(ctx context.Context) error {
			if err := t.host(2).Podman.StartService(ctx); err != nil {
				return err
			}
			return t.host(2).Agent.Ready(ctx)
		}}
}

func (t *trying) recoveryFails() cause {
	const image = "localhost/frail:1"
	return cause{name: "the agent of h3 starts, and a container of its is gone with its image", wants: []want{on("RecoveryFailed", 3)},
		begin: func(ctx context.Context) error {
			h := t.host(3)
			if _, err := h.Podman.Podman(ctx, "tag", podmanhost.Image1, image); err != nil {
				return err
			}
			if err := apply(ctx, h, placed("frail", "h3", image, 1, "")); err != nil {
				return err
			}
			running, err := trial.Pods(ctx, h.Podman, "frail", 1)
			if err != nil {
				return err
			}
			if err := kill(ctx, h); err != nil {
				return err
			}
			_, err = h.Podman.Podman(ctx, "rm", "--force", "--time", "0", running[0].ID)
			if err == nil {
				_, err = h.Podman.Podman(ctx, "untag", image)
			}
			if err != nil {
				return err
			}
			return up(ctx, h)
		},
		end: func(ctx context.Context) error { return remove(ctx, t.host(3), "Deployment", "frail") }}
}

// putBack puts the disk of h1 back to what it was some time ago.
func (t *trying) putBack() cause {
	return cause{name: "the disk of h1 is put back to what it was", wants: []want{on("DiskPutBack", 2), on("DiskPutBack", 3)},
		begin: func(ctx context.Context) error {
			h := t.host(1)
			then := filepath.Join(t.dir, "then")
			if err := terminate(ctx, h); err != nil {
				return err
			}
			if out, err := exec.CommandContext(ctx, "cp", "-a", h.Agent.DataDir, then).CombinedOutput(); err != nil {
				return fmt.Errorf("copy the data dir: %w: %s", err, out)
			}
			if err := up(ctx, h); err != nil {
				return err
			}
			if err := apply(ctx, h, service("since", 4711, "")); err != nil {
				return err
			}
			if err := t.spread(ctx, "since", 4711); err != nil {
				return err
			}
			pause(ctx, 8*time.Second) // what its beats have told of is what it had
			if err := errors.Join(kill(ctx, h), h.LoseDisk(), os.Rename(then, h.Agent.DataDir)); err != nil {
				return err
			}
			return up(ctx, h)
		},
		end: func(ctx context.Context) error { return t.spread(ctx, "since", 4711) }} // nothing is lost by it
}

// clockOffset is read by an agent that is built with the tag clockshift: by how much its clock is wrong.
const clockOffset = "PODMAN_SWARM_TEST_CLOCK_OFFSET"

func (t *trying) clock() cause {
	set := func(env ...string) func(context.Context) error {
		return func(ctx context.Context) error {
			h := t.host(3)
			return restart(ctx, h, func() { h.Agent.Env = env })
		}
	}
	return cause{name: "the clock of h3 is 30 s ahead", wants: []want{of("ClockOff", 3)}, begin: set(clockOffset + "=+30s"), end: set()}
}

// fast ends what slowDisk began.
func (t *trying) fast() error {
	if t.slow == nil {
		return nil
	}
	cmd := t.slow
	t.slow = nil
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil { // it lets go of the agent
		return err
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return err
	}
	return nil
}

// slowDisk has every fsync of an agent take some tenths of a second longer. It keeps up all the same: what has come by then shares one.
func (t *trying) slowDisk() cause {
	return cause{name: "every fsync of h2 takes 0.8 s", wants: []want{on("DiskSlow", 2)},
		begin: func(context.Context) error {
			n, err := pid(t.host(2))
			if err != nil {
				return err
			}
			calls := "fsync,fdatasync,sync_file_range"
			t.slow = exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(n),
				"-e", "trace="+calls, "-e", "inject="+calls+":delay_exit=800000")
			t.slow.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
			if err := t.slow.Start(); err != nil {
				t.slow = nil
				return err
			}
			return nil
		},
		end: func(context.Context) error { return t.fast() }}
}
