package projection

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/podman-swarm/podman-swarm/events"
)

var (
	replayed = flag.Int("replayed", 100_000, "how many events BenchmarkReplay replays")
	objects  = flag.Int("objects", 10_000, "how many objects they are of")
)

// object is a Deployment's worth of JSON: 1.2 kB, so that an event has 1.4 kB.
func object(n int) []byte {
	return fmt.Appendf(nil, `{"kind":"Deployment","n":%d,"spec":"%s"}`, n, strings.Repeat("x", 1160))
}

// fill writes a log of n events of 1.4 kB, of k objects in turn, as a ledger would.
func fill(b testing.TB, dir string, n, k int) *events.Log {
	log := realLog(b, dir)
	l := mustOpen(b, log, nil, 0)
	l.Node = "host-1"
	for at := 0; at < n; {
		var batch []*request
		for ; at < n && len(batch) < 1000; at++ {
			change := put(fmt.Sprintf("deployment/default/app-%05d", at*7919%k), string(object(at)))
			batch = append(batch, &request{by: By{"kubectl", "apply -f app.yaml"}, decide: set(change), done: make(chan result, 1)})
		}
		if err := l.commit(batch); err != nil {
			b.Fatal(err)
		}
		for _, r := range batch {
			if res := <-r.done; res.err != nil {
				b.Fatal(res.err)
			}
		}
	}
	return log
}

// BenchmarkReplay folds a log on one core, against a bare read of the same files that does nothing but sum them.
// With -replayed 1000000 it is the size that is promised.
func BenchmarkReplay(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	dir := b.TempDir()
	log := fill(b, dir, *replayed, *objects)
	var folding, cpu, reading, bare, heap []float64
	for b.Loop() {
		runtime.GC()
		start, used := time.Now(), cpuTime(b)
		l, err := OpenLedger(log, nil, 0, nil)
		if err != nil {
			b.Fatal(err)
		}
		cpu = append(cpu, float64(*replayed)/(cpuTime(b)-used).Seconds())
		folding = append(folding, float64(*replayed)/time.Since(start).Seconds())
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		heap = append(heap, float64(m.HeapAlloc)/(1<<20))
		runtime.KeepAlive(l)

		start = time.Now()
		if err := log.Scan(1, func(events.Record) error { return nil }); err != nil {
			b.Fatal(err)
		}
		reading = append(reading, float64(*replayed)/time.Since(start).Seconds())
		start = time.Now()
		sum(b, dir)
		bare = append(bare, float64(*replayed)/time.Since(start).Seconds())
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(middle(folding), "fold-events/s")
	b.ReportMetric(middle(cpu), "fold-events/cpu-s")
	b.ReportMetric(middle(reading), "read-events/s")
	b.ReportMetric(middle(bare), "bare-events/s")
	b.ReportMetric(middle(heap), "heap-MB")
}

// cpuTime is what this process has used of the processors: the figure to go by on a machine that is busy otherwise.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func middle(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// sum reads every segment and checksums it, in large pieces.
func sum(b *testing.B, dir string) {
	names, err := filepath.Glob(filepath.Join(dir, "0*"))
	if err != nil || len(names) == 0 {
		b.Fatal("no segments", err)
	}
	buf := make([]byte, 256<<10)
	var crc uint32
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		for {
			n, err := f.Read(buf)
			crc = crc32.Update(crc, crc32.MakeTable(crc32.Castagnoli), buf[:n])
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		f.Close()
	}
	binary.LittleEndian.PutUint32(buf, crc)
}

// BenchmarkRecord is one commit of one object among n: with a log that keeps nothing it is the ledger's own work,
// with a real one an fsync comes to it.
func BenchmarkRecord(b *testing.B) {
	for _, n := range []int{10, 100, 1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("objects=%d", n), func(b *testing.B) {
			log := &forgetful{memoryLog: newMemoryLog()}
			l, stop := running(b, log)
			defer stop()
			for at := 0; at < n; {
				var changes []Change
				for ; at < n && len(changes) < 1000; at++ {
					changes = append(changes, put(fmt.Sprintf("deployment/default/app-%06d", at), string(object(at))))
				}
				mustRecord(b, l, changes...)
			}
			runtime.GC()
			at, data := 0, object(1)
			b.ReportAllocs()
			for b.Loop() {
				at++
				if _, err := l.Record(context.Background(), By{"kubectl", "apply"}, func(*State) ([]Change, error) {
					return []Change{{Kind: events.Declared, Key: fmt.Sprintf("deployment/default/app-%06d", at*7919%n), Object: data}}, nil
				}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// forgetful is a log that keeps nothing but its end.
type forgetful struct {
	*memoryLog
	end events.Position
}

func (l *forgetful) Append(entries []events.Entry) error {
	for _, e := range entries {
		l.end.Record++
		l.end.Index += uint64(e.Count)
	}
	return nil
}

func (l *forgetful) End() events.Position { return l.end }

func (l *forgetful) Scan(uint64, func(events.Record) error) error { return nil }

func BenchmarkDigest(b *testing.B) {
	l := mustOpen(b, fill(b, b.TempDir(), 10_000, 10_000), nil, 0)
	for b.Loop() {
		l.View().Digest()
	}
}

func BenchmarkDecodeState(b *testing.B) {
	data := encoded(b, mustOpen(b, fill(b, b.TempDir(), 10_000, 10_000), nil, 0).View().State)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := DecodeState(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}
