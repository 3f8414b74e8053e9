package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/podman-swarm/podman-swarm/cmd/internal/tail"
)

// heartbeat is how often who follows the log by server-sent events, or has asked for bookmarks, is told how far it has come.
// It also keeps what stands between from ending a connection on which nothing comes.
const heartbeat = 20 * time.Second

// tailed is the log for those who follow it; nil where it is not served.
func (s *Server) tailed() *tail.Tail {
	if s.Tail != nil || s.Events == nil {
		return s.Tail
	}
	return &tail.Tail{Read: s.Events, Log: s.Log, View: func() (uint64, <-chan struct{}) {
		v := s.Ledger.View()
		return v.OnDisk().Index(), v.Changed
	}}
}

// events answers with the log, one JSON object a line, or as server-sent events; with follow, also what is appended while
// the client stays. It reads at the pace of the client.
func (s *Server) events(q *request, t *tail.Tail) error {
	if t == nil {
		return notServed("the log")
	}
	ask, err := s.askOf(q, t)
	if err != nil {
		return refusedPosition(err)
	}
	if ask.sse && ask.follow && ask.reached() {
		q.w.WriteHeader(http.StatusNoContent) // by which clients of server-sent events know that they need not come again
		return nil
	}
	f := &follower{asked: ask, s: s, tail: t, q: q}
	if ask.follow {
		defer t.Join()()
	}
	ctx, cancel := q.streaming()
	defer cancel()
	if ask.sse {
		f.out = q.stream("text/event-stream")
	} else {
		f.out = q.stream("application/x-ndjson")
	}
	if err := f.run(ctx); err != nil && ctx.Err() == nil {
		s.log().Warn("a reader of the log was cut off", "after", f.after, "error", err)
		panic(http.ErrAbortHandler) // so that the client does not take it for the end
	}
	return nil
}

// refusedPosition says where one can go on who cannot from where they asked.
func refusedPosition(err error) error {
	var gone *tail.GoneError
	var strange *tail.StrangeError
	switch {
	case errors.As(err, &gone):
		st := refused(http.StatusGone, metav1.StatusReasonGone, fmt.Sprintf("%v (psctl events --since %d)", err, gone.Resume.Index))
		st.ErrStatus.Details = &metav1.StatusDetails{Causes: []metav1.StatusCause{{Type: "ResumeAfter", Message: gone.Resume.String()}}}
		return st
	case errors.As(err, &strange):
		return badRequest("%v", err)
	}
	return err
}

// follower is one client that is told of the log.
type follower struct {
	asked
	s      *Server
	q      *request
	tail   *tail.Tail
	out    *stream
	at     tail.Position // behind the last event that was looked at; zero: not known
	told   uint64        // the index of the last event, or bookmark, that the client was given
	given  bool          // it was given one
	due    time.Time     // when it is told at the latest how far it has come
	caught bool          // it had all there was, once
}

// Why a client is told no more.
const (
	endUntil   = "Until"   // there is nothing more of what it asked for
	endTooSlow = "TooSlow" // it is to ask again, from the position on
	endGone    = "Gone"    // what comes next is in the log no more
)

// end is the last that a client is told, unless the agent stops.
type end struct {
	Reason   string        `json:"reason"`
	Message  string        `json:"message"`
	Position tail.Position `json:"-"`
	Text     string        `json:"position"`
}

// Error is the message.
func (e *end) Error() string { return e.Message }

// run tells until there is nothing more to tell, and then returns nil.
func (f *follower) run(ctx context.Context) error {
	every := heartbeat
	if f.s.Bookmarks > 0 {
		every = f.s.Bookmarks
	}
	f.due = time.Now().Add(every)
	if f.sse {
		if err := f.give([]byte("retry: 1000\n\n")); err != nil {
			return err
		}
	}
	each := f.tail.All
	if f.follow {
		each = f.tail.Each
	}
	for {
		err := each(ctx, f.after, f.send)
		if err != nil {
			return f.broken(err)
		}
		f.caught = true
		switch {
		case !f.follow:
			return f.bookmark()
		case f.reached():
			return f.end(f.over())
		}
		for waiting := true; waiting; {
			if !f.given || !time.Now().Before(f.due) { // who has no position yet would ask again for "since 10m", when those are others
				if err := f.bookmark(); err != nil {
					return err
				}
				f.due = time.Now().Add(every)
			}
			if waiting, err = f.wait(ctx); err != nil {
				return err
			}
			if waiting && f.late() { // what those who follow are yet to be told of counts, too
				if err := f.tail.All(ctx, f.after, f.send); err != nil {
					return f.broken(err)
				}
				return f.end(f.over())
			}
		}
	}
}

// broken ends what is told, by an error of a reader of the log.
func (f *follower) broken(err error) error {
	var gone *tail.GoneError
	var last *end
	switch {
	case errors.As(err, &gone):
		return f.end(&end{Reason: endGone, Message: err.Error(), Position: gone.Resume})
	case errors.As(err, &last):
		return f.end(last)
	}
	return err
}

// wait waits for more, until a bookmark is due at the most, and reports whether it has to go on with that. What the client does not want does not put
// off what is due: else who wants little of a busy log is told nothing for hours.
func (f *follower) wait(ctx context.Context) (bool, error) {
	pause := time.Until(f.due)
	if !f.untilAt.IsZero() {
		pause = min(pause, f.untilAt.Sub(f.s.now()))
	}
	limited, cancel := context.WithTimeout(ctx, max(pause, 0))
	defer cancel()
	err := f.tail.Wait(limited, f.after)
	if err == nil || ctx.Err() != nil {
		return false, ctx.Err()
	}
	return true, nil
}

// late reports whether the time is over for which the client wanted to be told.
func (f *follower) late() bool { return !f.untilAt.IsZero() && !f.s.now().Before(f.untilAt) }

func (f *follower) over() *end {
	return &end{Reason: endUntil, Message: "this is all there is until then", Position: f.position()}
}

func (f *follower) position() tail.Position {
	if f.at.Index == f.after {
		return f.at
	}
	return f.tail.At(f.after)
}

// send tells what of the items is wanted. The error is an *end, or that of the connection.
func (f *follower) send(items []*tail.Item) error {
	if most := cmp.Or(f.s.Late, 10*time.Minute); f.caught && f.s.now().Sub(items[0].At) > most {
		f.drop("it was behind by more than " + most.String())
		return &end{Reason: endTooSlow, Position: f.position(), Message: fmt.Sprintf(
			"too slow: what comes next is of more than %v ago; ask again, from the position on: nothing is lost", most)}
	}
	b, done := f.tail.Buffer()
	defer func() { done(b) }()
	var last *end
	for _, it := range items {
		for i := range it.Len() {
			p := it.Position(i)
			if p.Index <= f.after {
				continue
			}
			if f.until != nil && p.Index > *f.until || !f.untilAt.IsZero() && it.At.After(f.untilAt) {
				last = f.over()
				break
			}
			f.after, f.at = p.Index, p
			if f.filter.All() || it.Commit != nil && f.filter.Fits(it.Commit, i) {
				b = f.append(b, it, i)
				f.told, f.given = p.Index, true
			}
			if len(b) >= tail.BufferBytes {
				if err := f.give(b); err != nil {
					return err
				}
				b = b[:0]
			}
		}
		if last != nil {
			break
		}
	}
	if len(b) > 0 {
		if err := f.give(b); err != nil {
			return err
		}
	}
	if last != nil {
		return last
	}
	return nil
}

// append appends the i-th event of an item, as the client wants it.
func (f *follower) append(b []byte, it *tail.Item, i int) []byte {
	line := it.Lines()[i]
	switch {
	case f.cloud:
		line = it.CloudEvent(i, true)
	case f.summary:
		line = it.Summarized(i)
	}
	return f.line(b, it.Position(i), "", line)
}

// line appends one line, or one server-sent event of a type. One without a line says nothing but the position.
func (f *follower) line(b []byte, p tail.Position, typ string, line []byte) []byte {
	if !f.sse {
		return append(append(b, line...), '\n')
	}
	b = fmt.Appendf(b, "id: %v\n", p)
	if typ != "" {
		b = fmt.Appendf(b, "event: %s\n", typ)
	}
	if line != nil {
		b = fmt.Appendf(b, "data: %s\n", line)
	}
	return append(b, '\n')
}

// bookmark tells the client how far it has come, where it wants to know.
func (f *follower) bookmark() error {
	news := !f.given || f.told < f.after || !f.follow
	f.told, f.given = f.after, true
	switch {
	case f.sse:
		return f.give(f.line(nil, f.position(), "", nil))
	case f.bookmarks && news:
		return f.give(append(tail.Bookmark(f.position()), '\n'))
	}
	return nil
}

// end tells the client why it is told no more.
func (f *follower) end(last *end) error {
	if !f.follow && last.Reason == endUntil {
		return f.bookmark()
	}
	last.Text = last.Position.String()
	line, err := json.Marshal(struct {
		End *end `json:"end"`
	}{last})
	if err != nil {
		return err
	}
	return f.give(f.line(nil, last.Position, "end", line))
}

func (f *follower) give(b []byte) error {
	err := f.out.give(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		f.drop("it took nothing for " + f.s.patience().String())
	}
	return err
}

// drop puts down that a client was too slow.
func (f *follower) drop(why string) {
	f.tail.Drop()
	f.s.log().Warn("who followed the log was too slow, and was dropped", "why", why, "after", f.after, "from", f.q.RemoteAddr,
		"user_agent", plain(f.q.UserAgent(), 100))
}

// streaming is a context that ends with the request, when streams must end, and when cancel is called.
func (q *request) streaming() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(q.Context())
	if q.stop != nil {
		go func() { // ends with the request
			select {
			case <-q.stop:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}
