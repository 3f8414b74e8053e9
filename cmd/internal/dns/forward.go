package dns

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
)

const (
	maxWaits  = 512             // questions that are at upstream at a time; one more is SERVFAIL
	tryFor    = 2 * time.Second // one resolver
	resolveIn = 5 * time.Second // all of them: then who asks has given up
)

// key is a question for upstream.
type key struct {
	name   string // in lower case
	typ    uint16
	dnssec bool // with signatures
	check  bool // unchecked
}

// forward is what upstream answers, NXDOMAIN included: a copy, without its OPT record. Whoever asks the same at the same time
// shares one question; so ctx is to be one that ends with the server. The error says why there is no answer.
func (s *Server) forward(ctx context.Context, k key) (*dns.Msg, error) {
	if m := s.cache.get(k, time.Now()); m != nil {
		s.Metrics.cached(true)
		return m, nil
	}
	s.Metrics.cached(false)
	v, err, _ := s.flights.Do(fmt.Sprint(k), func() (any, error) {
		if m := s.cache.get(k, time.Now()); m != nil { // a question that was under way has been answered between the two looks
			return m, nil
		}
		ctx, cancel := context.WithTimeout(ctx, resolveIn)
		defer cancel()
		m, err := s.ask(ctx, k)
		if err == nil {
			s.cache.put(k, m, time.Now())
		}
		return m, err
	})
	if err != nil {
		return nil, err
	}
	m, _ := v.(*dns.Msg)
	return m.Copy(), nil
}

// ask asks the resolvers one after the other, those that did not answer lately last.
func (s *Server) ask(ctx context.Context, k key) (*dns.Msg, error) {
	all := s.upstreams.order(time.Now())
	if len(all) == 0 {
		return nil, errors.New("no resolver to ask: " + s.upstreams.where())
	}
	if !s.upstreams.enter() {
		return nil, errors.New("too many questions at once")
	}
	defer s.upstreams.leave()
	var wrong error
	for _, u := range all {
		m, err := exchange(ctx, u.addr, k)
		// A dial ends with the deadline of ctx, and a moment before ctx itself does.
		if end, ok := ctx.Deadline(); err != nil && (ctx.Err() != nil || ok && !time.Now().Before(end)) {
			return nil, fmt.Errorf("no resolver answers in time, the last asked was %s", u.addr)
		}
		s.heard(u, err)
		if err == nil && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) {
			return m, nil
		}
		if err == nil {
			err = errors.New(dns.RcodeToString[m.Rcode])
		}
		wrong = fmt.Errorf("%s: %w", u.addr, err)
	}
	return nil, wrong
}

// heard notes whether a resolver answers, and tells when that changes.
func (s *Server) heard(u *upstream, err error) {
	if err != nil {
		s.Metrics.failed()
	}
	switch was := u.fails(err != nil, time.Now()); {
	case err != nil && !was:
		s.log().Warn("a resolver does not answer; the others are asked first for now", "resolver", u.addr, "err", err)
	case err == nil && was:
		s.log().Info("a resolver answers again", "resolver", u.addr)
	}
}

// exchange asks one resolver: over UDP, and again over TCP what did not fit.
func exchange(ctx context.Context, addr string, k key) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(k.name, k.typ)
	q.CheckingDisabled = k.check
	q.SetEdns0(udpSize, k.dnssec)
	m, err := exchangeOver(ctx, "udp", addr, q)
	if err == nil && (m.Rcode == dns.RcodeFormatError || m.Rcode == dns.RcodeNotImplemented) { // it has not heard of EDNS
		q.Extra = nil
		m, err = exchangeOver(ctx, "udp", addr, q)
	}
	if err == nil && m.Truncated {
		m, err = exchangeOver(ctx, "tcp", addr, q)
	}
	if err != nil {
		return nil, err
	}
	extra := m.Extra[:0]
	for _, rr := range m.Extra {
		if rr.Header().Rrtype != dns.TypeOPT {
			extra = append(extra, rr)
		}
	}
	m.Extra = extra
	return m, nil
}

func exchangeOver(ctx context.Context, network, addr string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	q.Id = dns.Id()
	c := dns.Client{Net: network, UDPSize: dns.DefaultMsgSize, Timeout: tryFor}
	conn, err := c.DialContext(ctx, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	m, _, err := c.ExchangeWithConnContext(ctx, q, conn)
	if err != nil {
		return nil, err
	}
	// The client has compared the ids alone.
	if len(m.Question) != 1 || !m.Response || m.Question[0].Qtype != q.Question[0].Qtype || m.Question[0].Qclass != q.Question[0].Qclass ||
		!strings.EqualFold(m.Question[0].Name, q.Question[0].Name) {
		return nil, errors.New("it answers what was not asked")
	}
	return m, nil
}
