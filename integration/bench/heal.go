package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
)

// heal measures (k): how soon a host has what it has missed.
func (b *bench) heal(ctx context.Context) (rows []row, err error) {
	for _, size := range []int{smallSize, objectSize} {
		r, err := b.healOf(ctx, size)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func (b *bench) healOf(ctx context.Context, size int) (r row, err error) {
	missed := b.scale(100_000, 2000)
	heal, wait, copying := &series{name: "heal"}, &series{name: "until the first"}, &series{name: "raw copy"}
	var bytes int64
	for range b.scale(3, 1) {
		healed, waited, n, err := b.healOnce(ctx, size, missed)
		if err != nil {
			return r, err
		}
		bytes = n
		heal.took, wait.took = append(heal.took, healed), append(wait.took, waited)
		copied, err := b.copyRaw(bytes)
		if err != nil {
			return r, err
		}
		copying.took = append(copying.took, copied)
	}
	return row{Figure: fmt.Sprintf("k  %s missed events of %s bytes healed", count(missed), count(size)), Ours: span(heal.median()),
		With: fmt.Sprintf("TLS and fsyncs, the same %s raw", sizeOf(bytes)), Theirs: span(copying.median()), Ratio: heal.over(copying)}.
		aim("<= 2 s", heal.median() <= 2*time.Second).
		note("%s events/s; of it %s until the first of them were on its disk; %s to %s in %d runs; the raw copy is written in pieces of %s, "+
			"with an fsync each", count(int(float64(missed)/heal.median().Seconds())), span(wait.median()), span(heal.quantile(0)), span(heal.quantile(0.99)),
			len(heal.took), sizeOf(copyPiece)), nil
}

func sizeOf(bytes int64) string { return size(float64(bytes)) }

// healOnce has a host of two miss events, and then lets it sync: how long until it has them all, how much of that until it
// had the first, and how many bytes they are.
func (b *bench) healOnce(ctx context.Context, size, missed int) (healed, waited time.Duration, bytes int64, err error) {
	c, err := openCluster(ctx, b.dir, 2, false, size)
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	c.hosts[0].join(ctx)
	was := c.hosts[0].log.Stats().Bytes
	_, last, err := c.applyWhile(ctx, func(begun int64) bool { return begun <= int64(missed) })
	if err != nil {
		return 0, 0, 0, err
	}
	bytes = c.hosts[0].log.Stats().Bytes - was
	began := time.Now()
	away := c.hosts[1]
	away.join(ctx)
	first := away.ledger.View()
	select {
	case <-first.Changed:
		waited = time.Since(began)
	case <-time.After(time.Minute):
		return 0, 0, 0, errors.New("nothing of what a host has missed came within a minute")
	}
	err = away.shows(ctx, last)
	return time.Since(began), waited, bytes, err
}

// copyPiece is in what pieces the bytes are copied that healing is compared with.
const copyPiece = 384 << 10

// copyRaw sends so many bytes over mutual TLS on loopback to who writes them to the disk, and syncs each piece.
func (b *bench) copyRaw(bytes int64) (took time.Duration, err error) {
	issuer, err := newIssuer()
	if err != nil {
		return 0, err
	}
	secure, err := issuer.config("raw")
	if err != nil {
		return 0, err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", secure)
	if err != nil {
		return 0, err
	}
	defer l.Close()
	path := filepath.Join(b.dir, "copied")
	defer os.Remove(path)
	began := time.Now()
	var group errgroup.Group
	group.Go(func() error {
		conn, err := tls.Dial("tcp", l.Addr().String(), secure)
		if err != nil {
			return err
		}
		piece := make([]byte, copyPiece)
		for left := bytes; left > 0; left -= int64(len(piece)) {
			piece = piece[:min(left, copyPiece)]
			if _, err := conn.Write(piece); err != nil {
				return errors.Join(err, conn.Close())
			}
		}
		return conn.Close()
	})
	conn, err := l.Accept()
	if err != nil {
		return 0, errors.Join(err, l.Close(), group.Wait())
	}
	err = writeAll(path, conn)
	took = time.Since(began)
	return took, errors.Join(err, conn.Close(), group.Wait())
}

func writeAll(path string, from io.Reader) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	piece := make([]byte, copyPiece)
	for {
		n, err := io.ReadFull(from, piece)
		if n > 0 {
			if _, err := f.Write(piece[:n]); err != nil {
				return err
			}
			if err := f.Sync(); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
