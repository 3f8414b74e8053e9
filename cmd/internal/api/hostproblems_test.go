package api

import "testing"

// Of each way in which a host can be that needs a look, the status says what, why and what to do; of the asked host not once more what it
// says of itself, and what it lacks is said of those who have it.
func TestHost_problems(t *testing.T) {
	const look = "If that lasts, look into the logs of both agents"
	for _, c := range []struct {
		host Host
		want Problem // none: nothing is to be said
	}{
		{Host{State: StateAlive, CPUs: 1, Podman: "5", Behind: tooLate, Lag: 9, Digest: "agrees"}, Problem{}},
		{Host{State: StateAlive}, Problem{}}, // it has not spoken of itself yet
		{Host{State: StateRemoved, Why: "host h2 was removed from the cluster"}, Problem{}},
		{Host{State: StateSilent, Why: "host h2 has been silent since noon"}, Problem{"host h2 has been silent since noon", "whether what it ran still runs is not known",
			"Is it on, and is the network? If it is dead:  psctl node down h2  moves what it ran"}},
		{Host{State: StateStopped, Why: "its agent was stopped"}, Problem{"host h2 is stopped", "its agent was stopped", "To start it, there:  systemctl start podman-swarm-agent"}},
		{Host{State: StateDown, Why: "somebody said so"}, Problem{"host h2 is down", "somebody said so",
			"It counts again when its agent has started; if it never will:  psctl node remove h2"}},
		{Host{State: StateAlive, CPUs: 1}, Problem{"host h2", "its Podman does not answer", "There:  systemctl status podman.socket"}},
		{Host{State: StateAlive, ReadOnly: "disk full"}, Problem{"host h2 is read-only", "disk full", "Its containers run on; make room there"}},
		{Host{State: StateAlive, Behind: 6.5}, Problem{"host h2 has something of third hosts that this host lacks", "for 6 s now", look}},
		{Host{State: StateAlive, Behind: 60, Lag: 1}, Problem{"host h2 lacks 1 event, or this host lacks as many of its", "for 60 s now", look}},
		{Host{State: StateAlive, Behind: 60, Lag: 3}, Problem{"host h2 lacks 3 events, or this host lacks as many of its", "for 60 s now", look}},
		{Host{State: StateAlive, Digest: "differs at service/default/web"}, Problem{"host h2 has another state although it has the same events",
			"it differs at service/default/web", "Both fold their events anew; if this lasts, keep both logs and report it"}},
		{Host{State: StateAlive, Stuck: "its stream stands"}, Problem{"host h2", "its stream stands", ""}},
		{Host{State: StateAlive, Self: true, CPUs: 1, ReadOnly: "disk full", Lag: 4, Behind: 7}, Problem{}},
	} {
		c.host.Host = "h2"
		got := c.host.problems()
		if c.want == (Problem{}) && len(got) == 0 {
			continue
		}
		if len(got) != 1 || got[0] != c.want {
			t.Errorf("%+v:\ngot  %+v\nwant %+v", c.host, got, c.want)
		}
	}
}
