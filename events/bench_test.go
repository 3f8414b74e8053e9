package events

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sort"
	"testing"
	"time"
)

// BenchmarkAppend is one durable commit, against a bare write and fsync of as many bytes in the same run, one after
// the other, so that both see the same disk. The ratio is of the medians.
func BenchmarkAppend(b *testing.B) {
	for _, records := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("%d_records", records), func(b *testing.B) {
			dir := b.TempDir()
			l := mustOpen(b, dir, Options{})
			raw, err := os.Create(filepath.Join(b.TempDir(), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			defer raw.Close()
			a := &author{inc: l.Incarnation()}
			var ours, bare []time.Duration
			var block []byte
			for b.Loop() {
				var batch []Entry
				for range records {
					batch = append(batch, a.entry(b, 1, 1200))
				}
				was := l.tail.Load().bytes
				start := time.Now()
				mustAppend(b, l, batch...)
				ours = append(ours, time.Since(start))
				if n := int(l.tail.Load().bytes - was); n != len(block) {
					block = bytes.Repeat([]byte("x"), n)
				}
				start = time.Now()
				if _, err := raw.Write(block); err != nil {
					b.Fatal(err)
				}
				if err := raw.Sync(); err != nil {
					b.Fatal(err)
				}
				bare = append(bare, time.Since(start))
			}
			b.ReportMetric(float64(median(ours).Microseconds()), "µs/append")
			b.ReportMetric(float64(median(bare).Microseconds()), "µs/raw")
			b.ReportMetric(float64(median(ours))/float64(median(bare)), "ratio")
			b.ReportMetric(float64(records)/median(ours).Seconds(), "records/s")
			b.ReportMetric(float64(len(block))/float64(records), "B/record")
		})
	}
}

func median(d []time.Duration) time.Duration {
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	return d[len(d)/2]
}

// BenchmarkReplay reads a log of 1.4 kB commits: Replay alone, with every commit parsed, and as Open does, against a
// bare checksummed read of the same files.
func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	const records = 200_000
	l := mustOpen(b, dir, Options{})
	a := &author{inc: l.Incarnation()}
	for range records / 500 {
		var batch []Entry
		for range 500 {
			batch = append(batch, a.entry(b, 1, 1130))
		}
		mustAppend(b, l, batch...)
	}
	size := l.Stats().Bytes
	report := func(b *testing.B) {
		b.SetBytes(size)
		b.ReportMetric(float64(records)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		b.ReportMetric(float64(size)/records, "B/record")
	}
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			bareRead(b, l)
		}
		report(b)
	})
	b.Run("replay", func(b *testing.B) {
		for b.Loop() {
			n := 0
			if err := l.Replay(1, func(Record) error { n++; return nil }); err != nil || n != records {
				b.Fatal(n, err)
			}
		}
		report(b)
	})
	b.Run("replay_and_parse", func(b *testing.B) {
		for b.Loop() {
			err := l.Replay(1, func(r Record) error {
				_, err := ParseCommit(r.Payload)
				return err
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		report(b)
	})
	b.Run("scan", func(b *testing.B) {
		for b.Loop() {
			m, _, _, err := readManifest(dir)
			if err != nil {
				b.Fatal(err)
			}
			s := scanner{upTo: m.next, heads: heads{}}
			if _, err := walk(dir, l.o.Key, l.tail.Load().spans(1), m.start(), true, s.record); err != nil {
				b.Fatal(err)
			}
		}
		report(b)
	})
}

// bareRead reads the log's segments in chunks and sums them.
func bareRead(b *testing.B, l *Log) uint32 {
	var sum uint32
	buf := make([]byte, chunk)
	for _, s := range l.tail.Load().spans(1) {
		f, err := os.Open(filepath.Join(l.dir, segmentName(s.first)))
		if err != nil {
			b.Fatal(err)
		}
		for {
			n, err := f.Read(buf)
			sum = crc32.Update(sum, castagnoli(), buf[:n])
			if err != nil {
				break
			}
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	return sum
}

func BenchmarkParseCommit(b *testing.B) {
	a := &author{inc: 7}
	a.entry(b, 1, 1130)
	e := a.entry(b, 1, 1130)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCommit(e.Payload); err != nil {
			b.Fatal(err)
		}
	}
}
