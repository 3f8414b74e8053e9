package events

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

func noSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("ask for free space on %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// room is nil when n bytes can be appended and MinFree is left. A disk that does not say how much is free is
// written to until it refuses.
func (l *Log) room(n int64) error {
	free, err := freeBytes(l.dir)
	if err != nil {
		return nil
	}
	if free < l.o.MinFree+n {
		return fmt.Errorf("%w: %d bytes free, want %d", ErrFull, free, l.o.MinFree+n)
	}
	if l.reserve.missing() && free >= l.o.MinFree+n+l.reserve.want {
		l.notes.soon(noteEvery, l.keep)
	}
	return nil
}

// reserve is a file that only takes room. A batch that finds the disk full is finished in it.
type reserve struct {
	path string
	want int64
	held atomic.Int64
	none atomic.Bool // there can be none here
	mu   sync.Mutex
}

func (r *reserve) missing() bool { return r.want > 0 && r.held.Load() == 0 && !r.none.Load() }

// find takes up the reserve that an earlier owner of the log left.
func (r *reserve) find() {
	var st unix.Stat_t
	if unix.Stat(r.path, &st) == nil && st.Size == r.want && st.Blocks*512 >= r.want {
		r.held.Store(r.want)
	}
}

// take allocates the reserve.
func (r *reserve) take() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, err := os.OpenFile(r.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.EINTR
	for err == unix.EINTR { // by a signal, of which the Go runtime sends many
		err = unix.Fallocate(int(f.Fd()), 0, 0, r.want)
	}
	if err != nil {
		return errors.Join(err, os.Remove(r.path))
	}
	r.held.Store(r.want)
	return nil
}

// release gives the room back, and reports whether there was any.
func (r *reserve) release() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held.Swap(0) == 0 {
		return false
	}
	if os.Remove(r.path) != nil {
		return false
	}
	// Some file systems hand out freed room only after they have committed that it is free. An error here is found
	// by the append that comes next.
	_ = syncDir(filepath.Dir(r.path))
	return true
}

// keepReserve makes the reserve when it is missing and there is room for it beyond MinFree.
func (l *Log) keepReserve() {
	if !l.reserve.missing() {
		return
	}
	if free, err := freeBytes(l.dir); err != nil || free < l.o.MinFree+l.reserve.want {
		return
	}
	switch err := l.reserve.take(); {
	case err == nil:
		l.o.Log.Debug("reserve allocated", "dir", l.dir, "bytes", l.reserve.want)
	case !noSpace(err): // as on a file system that allocates nothing before it is written
		l.reserve.none.Store(true)
		l.o.Log.Warn("no reserve beside the log: a full disk may refuse the append under way",
			"dir", l.dir, "error", err)
	}
}
