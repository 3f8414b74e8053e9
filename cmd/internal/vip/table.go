package vip

import (
	"net/netip"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The sets and maps that all ports share, and the chain that leaves a connection where it goes.
const (
	services    = "services"    // virtual address, protocol, port → chain
	nodes       = "nodes"       // protocol, NodePort → chain
	masqueraded = "masqueraded" // NodePorts whose endpoints see this host as their client
	hairpins    = "hairpins"    // NodePorts whose endpoints do so only when the client is a container of this host
	outside     = "outside"     // bridges that lead to other machines
	closed      = "closed"      // NodePorts that nobody answers at
	pin         = "pin"         // a chain
)

var (
	addressAndPort  = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetService)
	protocolAndPort = nftables.MustConcatSetType(nftables.TypeInetProto, nftables.TypeInetService)
	frontType       = nftables.MustConcatSetType(nftables.TypeIPAddr, nftables.TypeInetProto, nftables.TypeInetService)
)

// loopback is this host to itself, by IPv4.
var loopback = netip.MustParsePrefix("127.0.0.0/8")

// table is our table and what is in it for all ports.
type table struct {
	*nftables.Table
	cidr     netip.Prefix
	resolver netip.Addr
	shared   map[string]*nftables.Set
}

// tablePrefix begins the name of every table of ours.
const tablePrefix = "podman_swarm_"

// TableName is the name of the table, in family ip, of a cluster of that name.
func TableName(cluster string) string {
	return tablePrefix + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, cluster)
}

func newTable(cluster string, cidr netip.Prefix) *table {
	t := &table{Table: &nftables.Table{Name: TableName(cluster), Family: nftables.TableFamilyIPv4}, cidr: cidr, resolver: Resolver(cidr)}
	t.shared = map[string]*nftables.Set{
		services:    {Name: services, KeyType: frontType, IsMap: true, DataType: nftables.TypeVerdict, Concatenation: true},
		nodes:       {Name: nodes, KeyType: protocolAndPort, IsMap: true, DataType: nftables.TypeVerdict, Concatenation: true},
		masqueraded: {Name: masqueraded, KeyType: protocolAndPort, Concatenation: true},
		hairpins:    {Name: hairpins, KeyType: protocolAndPort, Concatenation: true},
		closed:      {Name: closed, KeyType: protocolAndPort, Concatenation: true},
		outside:     {Name: outside, KeyType: nftables.TypeIFName},
	}
	for _, s := range t.shared {
		s.Table = t.Table
	}
	return t
}

// base writes what the table holds for all ports. It must be in a transaction that has made the table anew.
func (b *batch) base(outer []string) {
	t := b.table
	var names []nftables.SetElement
	for _, name := range outer {
		names = append(names, nftables.SetElement{Key: interfaceName(name)})
	}
	for _, name := range []string{services, nodes, masqueraded, hairpins, closed, outside} {
		var in []nftables.SetElement
		if name == outside {
			in = names
		}
		b.set(*t.shared[name], in)
	}
	// A connection that somebody's chain has led somewhere is left alone by all that come later: neither netavark nor anybody else
	// leads it to a port that the host publishes.
	b.conn.AddChain(b.chain(pin))
	b.rules(b.chain(pin), []rule{{exprs: []expr.Any{load(destinationAt, reg0),
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: reg0}}}})
	b.conn.AddChain(b.chain("virtual"))
	b.rules(b.chain("virtual"), []rule{
		{exprs: join(address(destinationAt, t.resolver, expr.CmpOpEq), accept())},
		{exprs: []expr.Any{load(destinationAt, reg0), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg1}, portInto(reg2), leads(services)}},
		{exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictGoto, Chain: pin}}},
	})
	b.guard()
	b.refuse()
	b.nat()
	b.quiet()
}

// guard keeps other machines from the virtual addresses: those are for this host and its containers.
func (b *batch) guard() {
	c := b.hook("guard", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, -150)
	b.rules(c, []rule{
		{exprs: join(b.table.within(expr.CmpOpNeq), accept())},
		{exprs: join(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, equal(1, interfaceName("lo")), accept())},
		{exprs: join(&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Lookup{SourceRegister: 1, SetName: outside}, drop())},
		{exprs: join(onBridge(), accept())},
		{exprs: join(drop())},
	})
}

// refuse tells who asks where nobody answers, at once. A program of this host that sends a datagram learns of a refusal where that arrives; where
// it leaves, only that it may not. A connection of its own is refused where it leaves: on the way in conntrack would know it already, and go on
// to refuse whoever comes from the same port, for two minutes after there is somebody to answer.
func (b *batch) refuse() {
	b.conn.AddChain(b.chain("refuse"))
	b.rules(b.chain("refuse"), []rule{
		{exprs: join(protocol(unix.IPPROTO_TCP), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST})},
		{exprs: []expr.Any{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: 3}}}, // port unreachable
	})
	no := &expr.Verdict{Kind: expr.VerdictGoto, Chain: "refuse"}
	virtual := join(onlyNew(), address(destinationAt, b.table.resolver, expr.CmpOpNeq), b.table.within(expr.CmpOpEq), no)
	shut := join(onlyNew(), masked(destinationAt, loopback, expr.CmpOpNeq), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0}, portInto(reg1),
		&expr.Lookup{SourceRegister: reg0, SetName: closed}, no)
	tcp := protocol(unix.IPPROTO_TCP)
	b.rules(b.hook("input", nftables.ChainTypeFilter, nftables.ChainHookInput, -10), []rule{{exprs: virtual}, {exprs: shut}})
	b.rules(b.hook("leaving", nftables.ChainTypeFilter, nftables.ChainHookOutput, -10), []rule{
		{exprs: join(tcp, virtual)},
		{exprs: join(tcp, toThisHost(), shut)},
	})
}

// nat leads new connections to endpoints. It comes before the chains of netavark and of iptables, and the first that changes
// where a connection goes has it.
func (b *batch) nat() {
	t := b.table
	lead := []rule{
		{exprs: join(t.within(expr.CmpOpEq), &expr.Verdict{Kind: expr.VerdictGoto, Chain: "virtual"})},
		{exprs: join(masked(destinationAt, loopback, expr.CmpOpEq), accept())},
		{exprs: join(toThisHost(), &expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0}, portInto(reg1), leads(nodes))},
	}
	b.rules(b.hook("prerouting", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, -110), lead)
	b.rules(b.hook("output", nftables.ChainTypeNAT, nftables.ChainHookOutput, -110), lead)

	led := join(&expr.Ct{Key: expr.CtKeySTATUS, Register: reg0}, hasBits(1<<5)) // IPS_DST_NAT
	was := []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0}, &expr.Ct{Key: expr.CtKeyPROTODST, Register: reg1}}
	masquerade := &expr.Masq{}
	b.rules(b.hook("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, 90), []rule{
		{exprs: join(led, &expr.Ct{Key: expr.CtKeyDST, Register: reg0}, mask(t.cidr, expr.CmpOpEq), masquerade)},
		{exprs: join(led, was, &expr.Lookup{SourceRegister: reg0, SetName: masqueraded}, masquerade)},
		{exprs: join(led, was, &expr.Lookup{SourceRegister: reg0, SetName: hairpins}, onBridge(),
			&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: 1}, &expr.Lookup{SourceRegister: 1, SetName: outside, Invert: true}, masquerade)},
	})
}

// quiet has who asks the resolver while nobody listens there hear nothing, rather than that nobody does: so they ask again.
// A TCP reset of sequence number 0 is the answer to a first packet; those of connections have others.
func (b *batch) quiet() {
	from := address(sourceAt, b.table.resolver, expr.CmpOpEq)
	b.rules(b.hook("quiet", nftables.ChainTypeFilter, nftables.ChainHookOutput, 0), []rule{
		{exprs: join(from, protocol(unix.IPPROTO_ICMP), transport(0, 2), equal(reg0, []byte{3, 3}), drop())},
		{exprs: join(from, protocol(unix.IPPROTO_TCP), transport(13, 1),
			&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 1, Mask: []byte{4}, Xor: []byte{0}}, equal(reg0, []byte{4}),
			transport(4, 4), equal(reg0, []byte{0, 0, 0, 0}), drop())},
	})
}

// hook makes a chain that packets come to by themselves.
func (b *batch) hook(name string, kind nftables.ChainType, at *nftables.ChainHook, priority nftables.ChainPriority) *nftables.Chain {
	policy := nftables.ChainPolicyAccept
	return b.conn.AddChain(&nftables.Chain{Table: b.table.Table, Name: name, Type: kind, Hooknum: at, Priority: &priority, Policy: &policy})
}

// What rules are put together of.

const (
	sourceAt      = 12 // in the header of IPv4
	destinationAt = 16

	metaIIFKind = expr.MetaKey(26) // NFT_META_IIFKIND, which the library has no name for
)

// join puts expressions and slices of them in one row.
func join(parts ...any) (all []expr.Any) {
	for _, p := range parts {
		switch p := p.(type) {
		case []expr.Any:
			all = append(all, p...)
		case expr.Any:
			all = append(all, p)
		}
	}
	return all
}

func load(offset, register uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: 4, DestRegister: register}
}

func source(register uint32) expr.Any { return load(sourceAt, register) }

func portInto(register uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2, DestRegister: register}
}

func transport(offset, length uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: length, DestRegister: reg0}
}

func equal(register uint32, data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: data}
}

func address(offset uint32, ip netip.Addr, op expr.CmpOp) []expr.Any {
	b := ip.As4()
	return []expr.Any{load(offset, reg0), &expr.Cmp{Op: op, Register: reg0, Data: b[:]}}
}

func masked(offset uint32, p netip.Prefix, op expr.CmpOp) []expr.Any {
	return join(load(offset, reg0), mask(p, op))
}

// mask compares the first register with a network.
func mask(p netip.Prefix, op expr.CmpOp) []expr.Any {
	net := p.Masked().Addr().As4()
	bits := ^uint32(0) << (32 - p.Bits())
	return []expr.Any{
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 4, Mask: binaryutil.BigEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: reg0, Data: net[:]},
	}
}

// within compares where a packet goes with the virtual addresses.
func (t *table) within(op expr.CmpOp) []expr.Any { return masked(destinationAt, t.cidr, op) }

func toThisHost() []expr.Any {
	return []expr.Any{&expr.Fib{Register: reg0, FlagDADDR: true, ResultADDRTYPE: true}, equal(reg0, binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL))}
}

// leads goes on to the chain that a shared map has for what is in the registers, if it has one.
func leads(to string) expr.Any {
	return &expr.Lookup{SourceRegister: reg0, DestRegister: unix.NFT_REG_VERDICT, IsDestRegSet: true, SetName: to}
}

func protocol(p byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg0}, equal(reg0, []byte{p})}
}

// onlyNew leaves alone what belongs to a connection, such as answers to the addresses that this host itself has asked from.
func onlyNew() []expr.Any {
	return join(&expr.Ct{Key: expr.CtKeySTATE, Register: reg0}, hasBits(expr.CtStateBitNEW))
}

func hasBits(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Bitwise{SourceRegister: reg0, DestRegister: reg0, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg0, Data: make([]byte, 4)},
	}
}

// onBridge is of packets that came in over a bridge, as those of containers do.
func onBridge() []expr.Any {
	return []expr.Any{&expr.Meta{Key: metaIIFKind, Register: 1}, equal(1, interfaceName("bridge"))}
}

func interfaceName(name string) []byte {
	b := make([]byte, 16)
	copy(b, name)
	return b
}

func accept() expr.Any { return &expr.Verdict{Kind: expr.VerdictAccept} }
func drop() expr.Any   { return &expr.Verdict{Kind: expr.VerdictDrop} }
