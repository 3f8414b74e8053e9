package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
	peersync "github.com/podman-swarm/podman-swarm/sync"
	"github.com/podman-swarm/podman-swarm/sync/authority"
	"github.com/podman-swarm/podman-swarm/sync/mesh"
)

// cluster is what an agent has when it is not alone.
type cluster struct {
	member *authority.Member // also where only the API is to listen on TLS
	old    bool              // member was one before this start
	mesh   *mesh.Mesh        // nil: there is no cluster port
	sync   *peersync.Sync    // nil, as mesh
	sight  *sight
	talk   *talk
}

// many reports whether this host speaks to others.
func (a *agent) many() bool { return a.cluster.sync != nil }

// belong finds out whose this host is: a member of a cluster that it made, or joined, before; or it joins, or makes one.
// It tries to join for as long as nobody can be reached.
func (a *agent) belong(ctx context.Context) error {
	if err := a.sameCluster(); err != nil {
		return err
	}
	if a.c.ClusterAddr == "" && a.c.APITLSAddr == "" && a.c.NATSAddr == "" {
		return nil
	}
	dir, o := filepath.Join(a.c.DataDir, "authority"), authority.Options{Node: a.c.NodeName, Log: a.part("authority")}
	m, err := authority.Open(dir, o)
	old := err == nil
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(a.c.Join) > 0:
		joined, jerr := a.join(ctx)
		if jerr != nil {
			return jerr
		}
		if joined.Cluster() != a.c.ClusterName { // before it is one of that cluster
			return fmt.Errorf("--cluster-name %q: the cluster to join is called %q: start this host with --cluster-name %[2]s", a.c.ClusterName, joined.Cluster())
		}
		a.c.Join = append(a.c.Join, joined.Addresses...)
		if err := (secretKeys{a.c.DataDir}).joined(joined); err != nil { // before it is one of the cluster, which it then will not ask again
			return fmt.Errorf("keep the keys of the cluster's Secrets: %w", err)
		}
		if m, err = joined.Install(dir, o); err == nil {
			a.log.Info("joined the cluster", "cluster", joined.Cluster(), "members", strings.Join(joined.Addresses, ", "))
		}
	case errors.Is(err, fs.ErrNotExist) && len(a.known()) > 1: // one that is made anew would shut this host out from the others
		return fmt.Errorf("%s is missing, and this host knows of others (%s): copy it from one of them, or join again with --join and a token; "+
			"if they are all gone for good, remove them first: start without --cluster-addr and --api-tls-addr, psctl node remove --force NAME",
			dir, strings.Join(a.known()[1:], ", "))
	case errors.Is(err, fs.ErrNotExist):
		if m, err = authority.Create(dir, a.c.ClusterName, o); err == nil {
			a.log.Info("made the cluster's authority: print the token by which other hosts join with podman-swarm-agent token", "cluster", a.c.ClusterName)
		}
	}
	if err != nil {
		return fmt.Errorf("who this host's cluster is: %w", err)
	}
	if m.Cluster() != a.c.ClusterName {
		return fmt.Errorf("--cluster-name %q: this host is a member of cluster %q, by %s: start it with --cluster-name %[2]s, or with another --data-dir",
			a.c.ClusterName, m.Cluster(), dir)
	}
	a.cluster.member, a.cluster.old = m, old
	return nil
}

// sameName refuses to start a host under another name than its log has it: names own containers, and those of the old one
// would be nobody's.
func (a *agent) sameName() error {
	for o := range a.ledger.View().All(projection.HostType + "/") {
		if name := strings.TrimPrefix(o.Key, projection.HostType+"/"); name != a.c.NodeName && o.Stamp.Inc == a.events.Incarnation() {
			return fmt.Errorf("--node-name %q: by its log, this host is %s, and its containers are known by that name: start it with --node-name %[2]s, or with another --data-dir",
				a.c.NodeName, name)
		}
	}
	return nil
}

// sameCluster refuses to start a host that runs containers under another name of its cluster than it ran them under last: they are known
// by that one, and would be made once more beside them.
func (a *agent) sameCluster() error {
	h, ok := a.saidHost()
	if !ok || h.Cluster == "" || h.Cluster == a.c.ClusterName { // it says nothing of it where an older version has spoken last
		return nil
	}
	for o := range a.ledger.View().All(projection.ReplicaType + "/") {
		if _, host, ok := projection.PodOf(o.Key); ok && host == a.c.NodeName {
			return fmt.Errorf("--cluster-name %q: this host runs containers of cluster %q, and they are known by that name: "+
				"start it with --cluster-name %[2]s, or delete first what runs here", a.c.ClusterName, h.Cluster)
		}
	}
	return nil
}

// join asks one member after the other, until one takes this host in, or says why it will not.
func (a *agent) join(ctx context.Context) (*authority.Joined, error) {
	token, err := authority.ParseToken(a.c.JoinToken)
	if err != nil {
		return nil, fmt.Errorf("--join takes a token the first time, in %sJOIN_TOKEN or --join-token: %w", envPrefix, err)
	}
	said := ""
	var inUse time.Time // since when this host's name has been
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		var errs []error
		var refusal error // one member may be behind, and not know yet what another does
		taken := false
		for _, addr := range a.c.Join {
			j, err := authority.Join(ctx, addr, token, a.request("join"))
			var refused *authority.RefusedError
			switch {
			case err == nil:
				return j, nil
			case errors.As(err, &refused) && refused.InUse && (inUse.IsZero() || time.Since(inUse) < 3*silence):
				taken = true
			case errors.As(err, &refused) && !refused.Again:
				refusal = errors.Join(refusal, fmt.Errorf("join the cluster: %w", refused))
			}
			errs = append(errs, err)
		}
		if refusal != nil {
			return nil, refusal
		}
		text := errors.Join(errs...).Error()
		switch {
		case taken && inUse.IsZero():
			inUse = time.Now()
			a.log.Warn("the name of this host is in use; if it is this host itself that lost its disk just now, the others will miss it in a moment: "+
				"trying on for so long", "node", a.c.NodeName, "for", 3*silence, "err", text)
		case !taken && text != said && ctx.Err() == nil:
			a.log.Warn("no member of the cluster could be reached at its --cluster-addr to join it; trying on", "addresses", strings.Join(a.c.Join, ", "), "err", text)
			said = text
		}
		if taken {
			pause = time.Second
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("stopped before a member of the cluster could be reached to join it: %w", ctx.Err())
		case <-time.After(pause):
		}
	}
}

// request is what this host says of itself, to join or to ask whether it is welcome.
func (a *agent) request(why string) authority.Request {
	sum := sha256.Sum256([]byte(machineID() + " " + a.c.DataDir))
	return authority.Request{Node: a.c.NodeName, Instance: why + " " + hex.EncodeToString(sum[:8]), Version: version, Cluster: a.c.ClusterName}
}

// connect opens the cluster port and gets ready to sync.
func (a *agent) connect() error {
	if a.c.ClusterAddr == "" {
		return nil
	}
	c := &a.cluster
	server := &authority.Server{Member: c.member, State: func() *projection.State { return a.ledger.View().State }, Admit: a.admit, Addresses: a.addresses,
		Ready: a.knowing, Secrets: func() ([][]byte, error) { return secretKeys{a.c.DataDir}.cluster(c.member) }}
	c.talk = newTalk(c.member.TLS(a.welcome))
	c.mesh = &mesh.Mesh{Talk: c.talk.serve, Cluster: a.c.ClusterName, Node: a.c.NodeName, Addr: a.c.ClusterAddr, Advertise: a.c.ClusterAdvertise,
		TLS: c.member.TLS(a.welcome), Peers: a.c.Join, Remember: filepath.Join(a.c.DataDir, "peers"), Log: a.part("mesh"),
		Join: func(conn net.Conn) { server.Serve(context.Background(), conn) }}
	if err := c.mesh.Open(); err != nil {
		host, _, _ := net.SplitHostPort(a.c.ClusterAddr) // it was checked
		if every := host == "" || net.ParseIP(host).IsUnspecified(); every && a.c.ClusterAdvertise == "" {
			err = fmt.Errorf("%w, by --cluster-advertise HOST:PORT", err)
		}
		return fmt.Errorf("--cluster-addr %s: %w", a.c.ClusterAddr, err)
	}
	a.log.Info("the cluster port listens", "address", c.mesh.Advertised(), "cluster", a.c.ClusterName)
	c.sync = &peersync.Sync{Bus: c.mesh, Ledger: a.ledger, Log: a.events, Node: a.c.NodeName, Cluster: a.c.ClusterName, Version: version,
		Address: c.mesh.Advertised(), Ready: a.standing, Say: a.part("sync"), Now: a.now, Every: a.c.SyncInterval, Claims: a.recall()}
	c.sync.Open()
	c.sight = newSight(a)
	return nil
}

// standing says how this host is doing, for the others.
func (a *agent) standing() (starting, readOnly bool) {
	recovering, _ := a.recovering()
	return recovering, a.events.Writable() != nil
}

// welcome is the reason not to have a route to a host, and for this one not to run.
func (a *agent) welcome(node string) error { return authority.Removed(a.ledger.View().State, node) }

// knowing is the reason why this host cannot say yet who may join.
func (a *agent) knowing() error {
	if why := a.refusing(); why != "" {
		return fmt.Errorf("host %s has just started, and does not know yet who may join (%s): it can be asked again in a moment", a.c.NodeName, why)
	}
	return nil
}

// admit is the reason not to let a host in, which wants to join or asks whether it may stay.
func (a *agent) admit(node, instance string) error {
	if err := a.welcome(node); err != nil {
		return err
	}
	if node == a.c.NodeName && !strings.HasSuffix(instance, strings.TrimPrefix(a.request("").Instance, " ")) {
		return fmt.Errorf("the member that was asked is called %s itself: who joins needs another name (--node-name)", node)
	}
	if !strings.HasPrefix(instance, "join ") {
		return nil
	}
	st, _ := a.cluster.sync.Status()
	if lives(st, node) {
		return fmt.Errorf("a host called %s is alive in this cluster: %w", node, authority.ErrInUse)
	}
	return nil
}

// addresses are those of the members' cluster ports.
func (a *agent) addresses() []string {
	all := []string{a.cluster.mesh.Advertised()}
	st, _ := a.cluster.sync.Status()
	for _, p := range st.Peers {
		if p.Address != "" && a.welcome(p.Host) == nil {
			all = append(all, p.Address)
		}
	}
	return all
}

// known are the hosts of the cluster, this one included, but for those that were removed.
func (a *agent) known() []string {
	s := a.ledger.View().State
	all := []string{a.c.NodeName}
	for o := range s.All(projection.HostType + "/") {
		if name := strings.TrimPrefix(o.Key, projection.HostType+"/"); name != a.c.NodeName && a.welcome(name) == nil {
			all = append(all, name)
		}
	}
	return all
}

// spread waits until hosts have a commit on disk. All are those of which nobody has said that they are dead.
func (a *agent) spread(ctx context.Context, commit events.ID, hosts int) (have, missing []string, err error) {
	if !a.many() {
		return []string{a.c.NodeName}, nil, nil // it is, or nobody would know of the commit
	}
	all := a.known()
	if hosts == 0 {
		st, _ := a.cluster.sync.Status()
		all = a.awaited(st.Peers)
	}
	return a.cluster.sync.Spread(ctx, commit, all, hosts)
}

// saidHost is what this host has said of itself last.
func (a *agent) saidHost() (projection.Host, bool) {
	return projection.Read[projection.Host](a.ledger.View().State, projection.HostKey(a.c.NodeName))
}

// leave tells the others that this host means to come back, and waits a moment until one of them knows. It must not be
// called before this host may record anything.
func (a *agent) leave() {
	h, ok := a.saidHost() // Podman is not asked: it may be about to end as well, and this must not wait for it
	if !ok {
		return
	}
	asking, asked := context.WithTimeout(context.Background(), time.Second)
	h.Boot = a.boot // it may not have said so yet
	h.Left, h.Off = time.Now().UTC().Truncate(time.Millisecond), goingDown(asking)
	asked()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // two slow disks write it down
	defer cancel()
	r, err := a.sayHost(ctx, h, "the agent was told to stop, and means to come back")
	if err != nil {
		a.log.Warn("the other hosts cannot be told that this one means to come back", "err", err)
		return
	}
	var alive []string
	st, _ := a.cluster.sync.Status()
	for _, p := range st.Peers {
		if p.Alive {
			alive = append(alive, p.Host)
		}
	}
	if len(alive) > 0 {
		if _, _, err := a.cluster.sync.Spread(ctx, r.Stamp.ID, alive, 1); err != nil {
			a.log.Warn("none of the other hosts has said that it knows of this one's leaving", "err", err)
		}
	}
}

// joinToken gives the token by which hosts join, and when it ends; zero: when it is rotated.
func (a *agent) joinToken(ctx context.Context, by projection.By, rotate bool, ttl time.Duration) (token string, expires time.Time, err error) {
	m := a.cluster.member
	now := a.now()
	if t, ends, ok := m.CurrentToken(a.ledger.View().State, now); ok && !rotate && ttl == 0 {
		return t.Text(), ends, nil
	}
	if ttl > 0 {
		expires = now.Add(ttl).UTC()
	}
	id := authority.NewTokenID()
	_, err = a.ledger.Record(ctx, by, func(s *projection.State) ([]projection.Change, error) {
		if rotate {
			return m.RotateTokens(s, id, expires)
		}
		return m.AddToken(s, id, expires, now)
	})
	if err != nil {
		return "", time.Time{}, err
	}
	t, err := m.Token(id)
	return t.Text(), expires, err
}
