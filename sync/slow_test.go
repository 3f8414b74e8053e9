package sync

import (
	"bytes"
	"fmt"
	"slices"
	gosync "sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
	"github.com/podman-swarm/podman-swarm/projection"
)

// sluggish is a log on a disk that takes long for each fsync.
type sluggish struct {
	*events.Log
	took time.Duration
}

func (l sluggish) Append(entries []events.Entry) error {
	time.Sleep(l.took)
	return l.Log.Append(entries)
}

// A host whose disk takes long keeps up with what the others record, whatever they say in between: what waits shares one fsync. And what is
// recorded on it waits for no more than the fsync that is under way, and its own.
func TestRun_aSlowDiskKeepsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const fsync, each, lasts = 800 * time.Millisecond, time.Second * 2 / 15, 16 * time.Second // 15 commits a second of two hosts
		bus := &air{cut: map[string]bool{}}
		disk := func(took time.Duration) func(*events.Log) projection.Log {
			return func(log *events.Log) projection.Log { return sluggish{log, took} }
		}
		same := func(l *projection.Ledger) Ledger { return l }
		_, la := liveAt(t, antenna{bus, "a"}, "a", 2*time.Second, disk(0), same)
		_, lb := liveAt(t, antenna{bus, "b"}, "b", 2*time.Second, disk(0), same)
		c, lc := liveAt(t, antenna{bus, "c"}, "c", 2*time.Second, disk(fsync), same)
		time.Sleep(5 * time.Second)
		began := time.Now()
		var writers gosync.WaitGroup
		said := [2]chan acknowledged{make(chan acknowledged, 1000), make(chan acknowledged, 1000)}
		for i, l := range []*projection.Ledger{la, lb} {
			writers.Go(func() {
				time.Sleep(time.Duration(i) * each / 2)
				for n := 0; time.Since(began) < lasts; n++ {
					id := mustApply(t, l, fmt.Sprintf("w%d-%d", i, n%50))
					said[i] <- acknowledged{id, time.Now()}
					time.Sleep(each)
				}
			})
		}
		writers.Go(func() {
			for n := 0; time.Since(began) < lasts; n++ {
				asked := time.Now()
				if mustApply(t, lc, fmt.Sprintf("own-%d", n%50)); time.Since(asked) > 2*fsync {
					t.Errorf("%v on, what is recorded on it takes %v", asked.Sub(began), time.Since(asked))
				}
				time.Sleep(each)
			}
		})
		var worst [4]time.Duration // in each quarter
		var lacked [2]acknowledged // the oldest of each
		for time.Since(began) < lasts {
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			quarter := min(int(4*time.Since(began)/lasts), 3)
			for i := range lacked {
				held := func() bool { return lacked[i].at.IsZero() || lc.View().OnDisk().Covers(lacked[i].id) }
				for held() && len(said[i]) > 0 {
					lacked[i] = <-said[i]
				}
				if !held() {
					worst[quarter] = max(worst[quarter], time.Since(lacked[i].at))
				}
			}
			if st, _ := c.Status(); len(st.Problems) > 0 && !t.Failed() {
				t.Errorf("%v on, it says %+v", time.Since(began), st.Problems)
			}
		}
		writers.Wait()
		if slices.Max(worst[:]) > 5*fsync { // two that others' changes wait for, each after one of its own, and some air
			t.Errorf("the oldest that it lacks is as old as %v, in each quarter", worst)
		}
	})
}

// What has come shares one sync, however much else stands between: what was asked for and came behind what follows on it, too.
func TestReceive_whatComesTogetherSharesOneSync(t *testing.T) {
	n, _ := lone(t)
	all, others := chain(t, 9, 6), chain(t, 7, 6)
	n.hear(n.core.subject.beat("b"), headed(&beat{Number: 1, Boot: 1, Inc: 9, Seq: 2, Vector: 1}, nil))
	if n.core.pull == nil {
		t.Fatal("what another host has is not asked for")
	}
	var came []message
	for i := 2; i < 6; i++ {
		says := headed(&beat{Number: uint64(i), Boot: 1, Inc: 9, Seq: uint64(i + 1), Vector: mark(i)}, nil)
		came = append(came, message{n.core.subject.commit("b"), all[i]}, message{n.core.subject.beat("b"), says},
			message{n.core.subject.commit("c"), others[i-2]})
	}
	answered := headed(&answer{Answer: askCommits, From: "b", ID: n.core.pull.id}, bytes.Join(all[:2], []byte("\n")))
	came = append(came, message{n.core.subject.host("a"), answered})
	before := n.ledger.Stats().Batches.Load()
	n.step(func() { n.core.receive(came) })
	if got := n.ledger.Stats().Batches.Load() - before; got != 1 {
		t.Errorf("%d syncs, want one", got)
	}
	s, c := n.ledger.View().OnDisk(), n.core.counts
	if s.Head(9).Seq != 6 || s.Head(7).Seq != 4 || c.Taken != 10 || c.Fetched != 2 || c.Gaps != 0 || n.core.misses != 0 {
		t.Errorf("it holds %s; %+v", heads(s), c)
	}
	if p := n.core.peers["b"]; p.number != 5 || p.Seq != 6 {
		t.Errorf("of b it knows %+v", p.beat)
	}
}

// acknowledged is a commit and when it was acknowledged.
type acknowledged struct {
	id events.ID
	at time.Time
}
