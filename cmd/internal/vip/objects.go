package vip

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// objects is what the table holds for one port of a Service, beside what it holds for all.
type objects struct {
	stays    []stay    // one for each endpoint, where clients stay with theirs
	chains   []chain   // each after those that it goes on to
	elements []element // of the sets and maps that all ports share
}

// mostStay is how many clients can stay with an endpoint at once. Who comes when there are so many is led anew each time.
const mostStay = 1 << 16

// stay is the set of the clients that stay with an endpoint.
type stay struct {
	name string
	time time.Duration
}

// chain is a chain with its rules. Two of one name and print have the same rules.
type chain struct {
	name, print string
	rules       []rule
}

// rule is a rule. Where pick is not empty, it looks something up, by lookup, in a map of its own that has these elements.
type rule struct {
	exprs  []expr.Any
	lookup *expr.Lookup
	value  nftables.SetDatatype // of what is picked
	pick   []nftables.SetElement
}

// element is an element of a shared set, or of a shared map, which then leads to a chain.
type element struct{ set, key, chain string }

// Registers of four bytes each.
const (
	reg0 = unix.NFT_REG32_00
	reg1 = unix.NFT_REG32_01
	reg2 = unix.NFT_REG32_02
)

// objectsOf is what the table is to hold for a port.
func objectsOf(p *port) (o objects) {
	if p.affinity > 0 {
		for _, e := range p.all() {
			s := stay{name: fmt.Sprintf("stay/%s/%s/%d/%d", p.name, e.Addr(), e.Port(), int(p.affinity.Seconds())), time: p.affinity}
			o.stays = append(o.stays, s)
			o.chains = append(o.chains, chain{name: p.endpoint(e), print: s.name, rules: stayAt(s.name, e)})
		}
	}
	if len(p.inside) > 0 {
		o.chains = append(o.chains, p.spread("svc/"+p.name, p.inside))
		o.elements = append(o.elements, element{set: services, key: key(p.front, p.udp), chain: "svc/" + p.name})
	}
	if p.node == 0 {
		return o
	}
	node := key(netip.AddrPortFrom(netip.Addr{}, p.node), p.udp)
	if len(p.outside) == 0 {
		o.elements = append(o.elements, element{set: nodes, key: node, chain: pin}, element{set: closed, key: node})
		return o
	}
	o.chains = append(o.chains, p.spread("node/"+p.name, p.outside))
	o.elements = append(o.elements, element{set: nodes, key: node, chain: "node/" + p.name})
	if p.local {
		o.elements = append(o.elements, element{set: hairpins, key: node})
	} else {
		o.elements = append(o.elements, element{set: masqueraded, key: node})
	}
	return o
}

// endpoint is the chain that leads to one endpoint, where clients stay with theirs.
func (p *port) endpoint(e netip.AddrPort) string {
	return fmt.Sprintf("to/%s/%s/%d", p.name, e.Addr(), e.Port())
}

// spread is a chain that leads new connections to one of the endpoints.
func (p *port) spread(name string, to []netip.AddrPort) chain {
	c := chain{name: name, print: fmt.Sprint(p.affinity, to)}
	random := &expr.Numgen{Register: reg0, Modulus: uint32(len(to)), Type: unix.NFT_NG_RANDOM}
	var pick []nftables.SetElement
	if p.affinity == 0 {
		for i, e := range to {
			pick = append(pick, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(i)), Val: concat(e)})
		}
		look := &expr.Lookup{SourceRegister: reg0, DestRegister: reg0, IsDestRegSet: true}
		c.rules = []rule{{exprs: []expr.Any{random, look, destination()}, lookup: look, value: addressAndPort, pick: pick}}
		return c
	}
	for i, e := range to {
		there := &expr.Verdict{Kind: expr.VerdictGoto, Chain: p.endpoint(e)}
		set := fmt.Sprintf("stay/%s/%s/%d/%d", p.name, e.Addr(), e.Port(), int(p.affinity.Seconds()))
		c.rules = append(c.rules, rule{exprs: []expr.Any{source(reg0), &expr.Lookup{SourceRegister: reg0, SetName: set}, there}})
		pick = append(pick, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(i)), VerdictData: there})
	}
	look := &expr.Lookup{SourceRegister: reg0, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true}
	c.rules = append(c.rules, rule{exprs: []expr.Any{random, look}, lookup: look, value: nftables.TypeVerdict, pick: pick})
	return c
}

// stayAt notes that the client stays with the endpoint, and leads it there: by a rule of its own, as one ends where a set has no room.
func stayAt(set string, e netip.AddrPort) []rule {
	to := concat(e)
	return []rule{
		{exprs: []expr.Any{source(reg0), &expr.Dynset{SrcRegKey: reg0, SetName: set, Operation: unix.NFT_DYNSET_OP_UPDATE}}},
		{exprs: []expr.Any{&expr.Immediate{Register: reg0, Data: to[:4]}, &expr.Immediate{Register: reg1, Data: to[4:6]}, destination()}},
	}
}

// destination changes where the connection goes to the address and port in the first registers.
func destination() expr.Any {
	return &expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg0, RegProtoMin: reg1}
}

// concat is an address and a port as they lie in registers.
func concat(a netip.AddrPort) []byte {
	ip := a.Addr().As4()
	return append(ip[:], byte(a.Port()>>8), byte(a.Port()), 0, 0)
}

// key is an address, a protocol and a port as they lie in registers; without the address when that is zero.
func key(a netip.AddrPort, udp bool) string {
	proto := byte(unix.IPPROTO_TCP)
	if udp {
		proto = unix.IPPROTO_UDP
	}
	k := []byte{proto, 0, 0, 0, byte(a.Port() >> 8), byte(a.Port()), 0, 0}
	if a.Addr().IsValid() {
		ip := a.Addr().As4()
		k = append(ip[:], k...)
	}
	return string(k)
}

// batch is a transaction under way: what is queued in it becomes true at once when it is committed, or not at all.
type batch struct {
	conn  *nftables.Conn
	table *table
	id    uint32 // of the last set that was made in it
	errs  []error
}

func (b *batch) err(err error) {
	if err != nil {
		b.errs = append(b.errs, err)
	}
}

// set makes a set or map, with elements.
func (b *batch) set(s nftables.Set, elements []nftables.SetElement) *nftables.Set {
	b.id++
	s.ID, s.Table = b.id, b.table.Table
	const most = 400 // an attribute of netlink ends at 64 KiB
	first := elements[:min(most, len(elements))]
	if len(first) < len(elements) {
		s.Size = uint32(len(elements))
	}
	b.err(b.conn.AddSet(&s, first))
	made := s
	for s.Anonymous = false; len(elements) > most; { // it has no name yet, and goes by its number
		elements = elements[most:]
		b.err(b.conn.SetAddElements(&s, elements[:min(most, len(elements))]))
	}
	return &made
}

func (b *batch) chain(name string) *nftables.Chain {
	return &nftables.Chain{Table: b.table.Table, Name: name}
}

// rules adds rules to a chain.
func (b *batch) rules(c *nftables.Chain, rules []rule) {
	for _, r := range rules {
		if len(r.pick) > 0 {
			own := b.set(nftables.Set{Name: "__map%d", Anonymous: true, Constant: true, IsMap: true,
				KeyType: nftables.TypeInteger, DataType: r.value}, r.pick)
			r.lookup.SetName, r.lookup.SetID = own.Name, own.ID
		}
		b.conn.AddRule(&nftables.Rule{Table: b.table.Table, Chain: c, Exprs: r.exprs})
	}
}

// elements adds elements to the shared sets, or takes them out.
func (b *batch) elements(all []element, change func(*nftables.Set, []nftables.SetElement) error) {
	for _, e := range all {
		in := nftables.SetElement{Key: []byte(e.key)}
		if e.chain != "" {
			in.VerdictData = &expr.Verdict{Kind: expr.VerdictGoto, Chain: e.chain}
		}
		b.err(change(b.table.shared[e.set], []nftables.SetElement{in}))
	}
}

// change makes of what the table holds for a port what it is to hold. What is in both stays as it is.
func (b *batch) change(was, is objects) {
	had, has := was.index(), is.index()
	var gone, added []element
	for _, e := range was.elements {
		if !has.elements[e] {
			gone = append(gone, e)
		}
	}
	for _, e := range is.elements {
		if !had.elements[e] {
			added = append(added, e)
		}
	}
	b.elements(gone, b.conn.SetDeleteElements)
	for _, s := range is.stays {
		if !had.stays[s] {
			b.set(nftables.Set{Name: s.name, KeyType: nftables.TypeIPAddr, HasTimeout: true, Timeout: s.time, Dynamic: true, Size: mostStay}, nil)
		}
	}
	for _, c := range is.chains {
		print, ok := had.chains[c.name]
		switch {
		case !ok:
			b.conn.AddChain(b.chain(c.name))
		case print == c.print:
			continue
		default:
			b.conn.FlushChain(b.chain(c.name))
		}
		b.rules(b.chain(c.name), c.rules)
	}
	b.elements(added, b.conn.SetAddElements)
	for i := len(was.chains) - 1; i >= 0; i-- { // those that lead to others first
		if c := was.chains[i]; has.chains[c.name] == "" {
			b.conn.FlushChain(b.chain(c.name))
			b.conn.DelChain(b.chain(c.name))
		}
	}
	for _, s := range was.stays {
		if !has.stays[s] {
			b.conn.DelSet(&nftables.Set{Table: b.table.Table, Name: s.name})
		}
	}
}

type index struct {
	stays    map[stay]bool
	chains   map[string]string // name → print
	elements map[element]bool
}

func (o objects) index() index {
	x := index{map[stay]bool{}, map[string]string{}, map[element]bool{}}
	for _, s := range o.stays {
		x.stays[s] = true
	}
	for _, c := range o.chains {
		x.chains[c.name] = c.print
	}
	for _, e := range o.elements {
		x.elements[e] = true
	}
	return x
}

// stayOf says whether a set's name is one of those of stays.
func stayOf(name string) bool { return strings.HasPrefix(name, "stay/") }
