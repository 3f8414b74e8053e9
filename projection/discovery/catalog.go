package discovery

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"

	"github.com/podman-swarm/podman-swarm/projection"
)

// Ledger is what a Catalog needs of a projection.Ledger.
type Ledger interface{ View() *projection.View }

// recent is how many tables a Catalog remembers at least (once there were as many), and half of how many at most.
const recent = 1024

// Catalog keeps a table in step with a ledger. Its fields are its configuration, and must not be changed once it is used. What one
// event costs grows with what it touches, not with how many Services or replicas there are.
//
// Whatever is asked, it first catches up with the ledger: its table is that of the newest state, also while Run does not run.
// Everything may be called from any goroutine.
type Catalog struct {
	Ledger Ledger
	Host   string       // this host
	CIDR   netip.Prefix // where virtual addresses are taken from, the same on every host; zero: DefaultCIDR
	// Rootless says that this host does not reach containers at addresses of their own: Endpoint.Local is then a published port.
	Rootless bool
	// Boot is of this host, as projection.Replica.Boot has it; "" when it is not known. What ran before it is behind no Service, also before
	// this host has said a word of its replicas since.
	Boot string
	Log  *slog.Logger // nil: silent

	mu      sync.Mutex
	book    *book
	past    []entry // oldest first, the newest table among them
	changed chan struct{}
}

// entry is one table and what was different in the one before.
type entry struct {
	*Table
	newServices, newIngresses []Name // that were added, changed or removed
}

// moment is how far a Catalog has come, and what is closed once something is different.
type moment struct {
	past    []entry
	changed <-chan struct{}
}

func (m moment) table() *Table { return m.past[len(m.past)-1].Table }

var _ Source = (*Catalog)(nil)

// Run follows the ledger, so that who waits in Next is woken, until ctx ends; it returns nil.
func (c *Catalog) Run(ctx context.Context) error {
	for {
		v, _ := c.catchUp()
		select {
		case <-v.Changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// Table is the newest.
func (c *Catalog) Table() *Table {
	_, now := c.catchUp()
	return now.table()
}

// Of is the table of a state: one that is remembered, or, of a state of another time, made anew.
func (c *Catalog) Of(st *projection.State) *Table {
	_, now := c.catchUp()
	i, ok := slices.BinarySearchFunc(now.past, st.Index(), func(e entry, index uint64) int { return cmp.Compare(e.index, index) })
	if ok && now.past[i].state == st {
		return now.past[i].Table
	}
	return whole(c.newBook(), st)
}

// Changes are the names of the Services and Ingresses that are not the same in two tables.
func (c *Catalog) Changes(before, after *Table) (services, ingresses []Name) {
	_, now := c.catchUp()
	if news, ok := c.since(now.past, before, after); ok {
		return news.Services, news.Ingresses
	}
	return differences(before, after)
}

// Next waits for a table in which something is different, as Source has it. Tables that differ in their index alone do not end the wait.
func (c *Catalog) Next(ctx context.Context, after *Table) (News, error) {
	for {
		_, now := c.catchUp()
		if after == nil {
			return News{Table: now.table(), Whole: true}, nil
		}
		news, ok := c.since(now.past, after, now.table())
		switch {
		case !ok:
			return News{Table: now.table(), Whole: true}, nil
		case after.turn != now.table().turn:
			return news, nil
		}
		select {
		case <-now.changed:
		case <-ctx.Done():
			return News{}, ctx.Err()
		}
	}
}

// since is what is different in one table of the past from an earlier one; false when that is not remembered.
func (c *Catalog) since(past []entry, before, after *Table) (News, bool) {
	if before.of != c || after.of != c || before.turn > after.turn || len(past) == 0 || past[0].turn > before.turn {
		return News{}, false
	}
	services, ingresses := map[Name]bool{}, map[Name]bool{}
	from, _ := slices.BinarySearchFunc(past, before.turn+1, func(e entry, turn uint64) int { return cmp.Compare(e.turn, turn) })
	for _, e := range past[from:] {
		if e.turn > after.turn {
			break
		}
		for _, n := range e.newServices {
			services[n] = true
		}
		for _, n := range e.newIngresses {
			ingresses[n] = true
		}
	}
	return News{Table: after, Services: sorted(services), Ingresses: sorted(ingresses)}, true
}

// sorted are the names that are true, in order.
func sorted(names map[Name]bool) []Name {
	var all []Name
	for n, ok := range names {
		if ok {
			all = append(all, n)
		}
	}
	slices.SortFunc(all, func(a, b Name) int { return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name)) })
	return all
}

func (c *Catalog) newBook() *book {
	log := c.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return newBook(c.Host, c.Boot, c.CIDR, c.Rootless, log)
}

// catchUp takes over what has happened in the ledger, and gives its newest view and how things are at that.
func (c *Catalog) catchUp() (*projection.View, moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.Ledger.View() // within the lock, so that none comes after a later one
	if c.book == nil {
		c.begin(v.State)
		c.changed = make(chan struct{})
		return v, moment{c.past, c.changed}
	}
	last := c.past[len(c.past)-1]
	if last.state == v.State {
		return v, moment{c.past, c.changed}
	}
	if steps, ok := v.Since(last.index); ok && len(steps) > 0 && steps[0].Before == last.state && steps[len(steps)-1].After == v.State {
		for i := range steps {
			c.step(&steps[i])
		}
	} else {
		c.begin(v.State)
	}
	if c.past[len(c.past)-1].turn != last.turn {
		close(c.changed)
		c.changed = make(chan struct{})
	}
	return v, moment{c.past, c.changed}
}

// begin reads a whole state. What is the same as before stays as it was.
func (c *Catalog) begin(st *projection.State) {
	c.book = c.newBook()
	next := entry{Table: whole(c.book, st)}
	next.of = c
	if len(c.past) > 0 {
		last := c.past[len(c.past)-1]
		next.newServices, next.newIngresses = differences(last.Table, next.Table)
		for s := range next.Table.Services() {
			if was := last.Service(s.Name); was != nil && sameService(was, s) {
				s.index, s.moved = was.index, was.moved
			}
		}
		next.turn = last.turn + 1
		if st.Index() <= last.index { // then they are not to be found by their index
			c.past = nil
		}
	}
	c.remember(next)
}

// remember makes that the newest table. Who has been given the past before does not look beyond its length.
func (c *Catalog) remember(next entry) {
	if len(c.past) >= 2*recent {
		c.past = append(make([]entry, 0, 2*recent), c.past[len(c.past)-recent:]...)
	}
	c.past = append(c.past, next)
}

// whole is the table of a state, made anew in an empty book.
func whole(b *book, st *projection.State) *Table {
	b.readAll(st)
	t := NewTable(nil, nil)
	t.index, t.state, t.addresses = st.Index(), st, b.addresses
	for n := range b.dirty {
		if s := b.serviceOf(n); s != nil {
			s.index = st.Index()
			t.put(n, s)
		}
	}
	for n := range b.ingresses {
		if i := b.ingressOf(st, n); i != nil {
			t.ingresses.Set(i)
		}
	}
	clear(b.dirty)
	clear(b.ingresses)
	return t
}

// step takes over one commit.
func (c *Catalog) step(step *projection.Step) {
	for i := range step.Commit.Events {
		c.book.follow(step.After, step.Commit.Events[i].Key)
	}
	last := c.past[len(c.past)-1].Table
	t := *last
	t.index, t.state = step.After.Index(), step.After
	next := entry{Table: &t}
	var made []*Service
	for n := range c.book.dirty {
		if is := c.book.serviceOf(n); !sameService(last.Service(n), is) {
			next.newServices, made = append(next.newServices, n), append(made, is)
		}
	}
	if len(made) > 0 {
		t.services, t.byIP = t.services.Copy(), t.byIP.Copy()
		for i, s := range made {
			n := next.newServices[i]
			if was := last.Service(n); s != nil {
				s.index = t.index
				if s.moved = moved(was); was != nil && !sameAddress(was, s) {
					s.moved = t.index
				}
			}
			t.put(n, s)
		}
	}
	for n := range c.book.ingresses {
		was, is := last.Ingress(n), c.book.ingressOf(step.After, n)
		if sameIngress(was, is) {
			continue
		}
		if next.newIngresses == nil {
			t.ingresses = t.ingresses.Copy()
		}
		next.newIngresses = append(next.newIngresses, n)
		if is == nil {
			t.ingresses.Delete(was)
		} else {
			t.ingresses.Set(is)
		}
	}
	if len(next.newServices)+len(next.newIngresses) > 0 {
		t.turn++
	}
	clear(c.book.dirty)
	clear(c.book.ingresses)
	c.remember(next)
}

func moved(s *Service) uint64 {
	if s == nil {
		return 0
	}
	return s.moved
}

func sameAddress(a, b *Service) bool {
	return a.IP == b.IP && slices.EqualFunc(a.Ports, b.Ports, func(p, q Port) bool { return p.NodePort == q.NodePort })
}

func sameService(a, b *Service) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && a.IP == b.IP && reflect.DeepEqual(a.Ports, b.Ports) && reflect.DeepEqual(a.Absent, b.Absent) &&
		(a.Spec == b.Spec || reflect.DeepEqual(a.Spec, b.Spec))
}

func sameIngress(a, b *Ingress) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && reflect.DeepEqual(a.Spec, b.Spec)
}

// differences are the names of what is not the same in two tables.
func differences(a, b *Table) (services, ingresses []Name) {
	some, more := map[Name]bool{}, map[Name]bool{}
	for s := range a.Services() {
		some[s.Name] = !sameService(s, b.Service(s.Name))
	}
	for s := range b.Services() {
		some[s.Name] = some[s.Name] || a.Service(s.Name) == nil
	}
	for i := range a.Ingresses() {
		more[i.Name] = !sameIngress(i, b.Ingress(i.Name))
	}
	for i := range b.Ingresses() {
		more[i.Name] = more[i.Name] || a.Ingress(i.Name) == nil
	}
	return sorted(some), sorted(more)
}
