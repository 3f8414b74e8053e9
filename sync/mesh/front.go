package mesh

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	helloTimeout = 5 * time.Second // for a connection to say what it wants
	maxConns     = 1024            // of all kinds, those to embedded NATS included: a route is two
	maxConnsOf   = 384             // of those for one address: all that talk, and some routes of hosts that share it
	maxSilent    = 256             // that have not said yet what they want
	maxSilentOf  = 32              // from one address
	maxJoining   = 32              // that are with Join
	maxTalking   = 256             // that are with Talk
)

// Why connections are refused: the keys of Stats.Refused.
const (
	refusedSilent  = "says nothing"
	refusedHello   = "no TLS hello"
	refusedCrowd   = "too many connections"
	refusedOne     = "too many connections of one address"
	refusedJoin    = "no joining here"
	refusedTalk    = "no talking here"
	refusedTLS     = "TLS handshake"
	refusedCluster = "other cluster"
	refusedName    = "same name"
)

// front is the one cluster port. It looks at how a connection begins, gives joiners to join, and carries all others to
// the listener of embedded NATS as they are: NATS ends their TLS itself, so who gets through here is no further than
// before.
type front struct {
	listener *net.TCPListener
	tls      bool // else all are for NATS
	join     func(net.Conn)
	talk     func(net.Conn)
	log      *natsLog
	backend  atomic.Pointer[net.TCPAddr] // of embedded NATS

	closing   context.Context
	end       context.CancelFunc
	accepting sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]string // and for what address without port each is held
	held   map[string]int      // how many of conns, by that
	silent map[string]int      // by address without port
	quiet  int                 // the sum of silent
	joins  int                 // with join
	talks  int                 // with talk
	real   map[string]string   // by the address that NATS sees, whose connection it is
}

func listen(addr string, tls bool, join, talk func(net.Conn), log *natsLog) (*front, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	f := &front{listener: l.(*net.TCPListener), tls: tls, join: join, talk: talk, log: log,
		conns: map[net.Conn]string{}, held: map[string]int{}, silent: map[string]int{}, real: map[string]string{}}
	f.closing, f.end = context.WithCancel(context.Background())
	return f, nil
}

// serve lets connections in until ctx is done, and then ends them all.
func (f *front) serve(ctx context.Context) error {
	defer f.close()
	defer context.AfterFunc(ctx, func() { f.listener.Close() })()
	for {
		conn, err := f.listener.AcceptTCP()
		switch {
		case err == nil:
			f.admit(conn)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return nil
		default: // out of file descriptors, most likely
			f.log.say(warn, "cannot accept connections to the cluster port", "", "err", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
}

// close ends all connections, and waits for whoever serves them.
func (f *front) close() {
	f.listener.Close()
	f.end()
	f.mu.Lock()
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.accepting.Wait()
}

// admit starts to serve a connection, if there is room for one more.
func (f *front) admit(conn *net.TCPConn) {
	from := hostOf(conn.RemoteAddr().String())
	f.mu.Lock()
	full := len(f.conns) >= maxConns || f.quiet >= maxSilent || f.silent[from] >= maxSilentOf
	held := f.held[from]
	crowds := held >= maxConnsOf // what got past its hello may stay for long in a handshake, and must not keep all others out
	if !full && !crowds && f.closing.Err() == nil {
		f.hold(conn, from)
		f.silent[from]++
		f.quiet++
		f.accepting.Go(func() { f.serveOne(conn, from) })
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	switch {
	case crowds:
		f.log.refuse(conn.RemoteAddr().String(), refusedOne, fmt.Errorf("%d are held for it already, those to embedded NATS included", held))
	case full:
		f.log.refuse(conn.RemoteAddr().String(), refusedCrowd, nil)
	}
	conn.Close()
}

func (f *front) serveOne(conn *net.TCPConn, from string) {
	defer f.drop(conn)
	hello, err := []byte(nil), error(nil)
	asked := ""
	if f.tls {
		hello, asked, err = peek(conn, helloTimeout)
	}
	f.spoken(from)
	switch {
	case f.closing.Err() != nil:
	case errors.Is(err, errSilent):
		f.log.refuse(conn.RemoteAddr().String(), refusedSilent, err)
	case errors.Is(err, errGone):
		f.log.out.Debug("a connection to the cluster port went before it said anything", "from", conn.RemoteAddr())
	case err != nil:
		f.log.refuse(conn.RemoteAddr().String(), refusedHello, err)
	case asked == Protocol:
		f.give(&begun{TCPConn: conn, begin: hello}, f.join, &f.joins, maxJoining, refusedJoin)
	case asked == Talk:
		f.give(&begun{TCPConn: conn, begin: hello}, f.talk, &f.talks, maxTalking, refusedTalk)
	default:
		f.relay(conn, hello)
	}
}

// spoken makes room for another connection that has not said what it wants.
func (f *front) spoken(from string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.quiet--
	if f.silent[from]--; f.silent[from] == 0 {
		delete(f.silent, from)
	}
}

// give hands a connection to who speaks its protocol, if anybody does, and not too many are with them.
func (f *front) give(conn net.Conn, to func(net.Conn), with *int, most int, nobody string) {
	f.mu.Lock()
	full := *with >= most
	if to != nil && !full {
		*with++
	}
	f.mu.Unlock()
	switch {
	case to == nil:
		f.log.refuse(conn.RemoteAddr().String(), nobody, nil)
		return
	case full:
		f.log.refuse(conn.RemoteAddr().String(), refusedCrowd, fmt.Errorf("%d are at it already", most))
		return
	}
	to(conn)
	f.mu.Lock()
	defer f.mu.Unlock()
	*with--
}

// hold has a connection count for an address, and be ended by close. The lock is held.
func (f *front) hold(conn net.Conn, from string) {
	f.conns[conn] = from
	f.held[from]++
}

// track lets close end a connection as well that is for an address; if that has begun, it is ended at once.
func (f *front) track(conn net.Conn, from string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold(conn, from)
	if f.closing.Err() != nil {
		conn.Close()
	}
}

func (f *front) drop(conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	from := f.conns[conn]
	delete(f.conns, conn)
	if f.held[from]--; f.held[from] == 0 {
		delete(f.held, from)
	}
	conn.Close()
}

// hangUp ends a connection that came in from an address.
func (f *front) hangUp(from string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		if c.RemoteAddr().String() == from {
			c.Close()
		}
	}
}

// whose returns who is behind an address that NATS sees, and whether that is a connection that came in.
func (f *front) whose(addr string) (real string, inbound bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if real, ok := f.real[addr]; ok {
		return real, true
	}
	return addr, false
}

// hostOf is an address without its port.
func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}
