package api

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os/user"
	"strconv"
	"strings"
	"sync"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// On the loopback nobody shows who they are, and everybody may do everything. Who it was, the kernel knows: it has the user of the socket at the other end.

// localUserKey is where the context of a connection has what names its user.
type localUserKey struct{}

// withLocalUser has the context of a connection know who is at its other end. That is found out when it is first asked for, once.
func withLocalUser(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, localUserKey{}, sync.OnceValue(func() string { return localUser(c.RemoteAddr(), c.LocalAddr()) }))
}

// local is who asks over the loopback: "local:alice", "local:uid=1003" where this host has no name for them, and "local" where the kernel does not tell, as of
// a socket in another network namespace.
func (q *request) local() string {
	who, ok := q.Context().Value(localUserKey{}).(func() string)
	if !ok {
		return "local"
	}
	name := who()
	if name == "" {
		return "local"
	}
	return "local:" + name
}

// localUser names the user of the socket on this host that has these addresses, as seen from there; "" where there is none.
func localUser(own, other net.Addr) string {
	uid, err := socketUser(own, other)
	if err != nil {
		return ""
	}
	id := strconv.FormatUint(uint64(uid), 10)
	u, err := user.LookupId(id)
	if err != nil || u.Username == "" {
		return "uid=" + id
	}
	return strings.ReplaceAll(plain(u.Username, 100), " ", "_") // what follows after a space is the program
}

// errNoSocket says that the kernel knows of no such socket.
var errNoSocket = errors.New("no such socket")

// socketUser asks the kernel whose socket it is that has these addresses (sock_diag(7)). It is asked for the one, and not for all that have such ports, as a dump
// would be: that walks through all sockets of the host.
func socketUser(own, other net.Addr) (uid uint32, err error) {
	from, err := netip.ParseAddrPort(own.String())
	if err != nil {
		return 0, err
	}
	to, err := netip.ParseAddrPort(other.String())
	if err != nil {
		return 0, err
	}
	const idAt = 4 // in struct inet_diag_msg; struct inet_diag_req_v2 has it at 8
	id := socketID(from, to)
	family := byte(unix.AF_INET)
	if !from.Addr().Unmap().Is4() {
		family = unix.AF_INET6
	}
	q := append([]byte{family, unix.IPPROTO_TCP, 0, 0, 0xff, 0xff, 0xff, 0xff}, id...)
	req := nl.NewNetlinkRequest(nl.SOCK_DIAG_BY_FAMILY, 0)
	req.AddRawData(q)
	all, err := req.Execute(unix.NETLINK_INET_DIAG, nl.SOCK_DIAG_BY_FAMILY)
	if err != nil {
		return 0, err
	}
	const ports, uidAt = 4, idAt + 48 + 3*4
	if len(all) != 1 || len(all[0]) < uidAt+4 || string(all[0][idAt:idAt+ports]) != string(id[:ports]) { // else it is one that listens
		return 0, errNoSocket
	}
	return binary.NativeEndian.Uint32(all[0][uidAt:]), nil
}

// socketID is a struct inet_diag_sockid.
func socketID(from, to netip.AddrPort) []byte {
	b := binary.BigEndian.AppendUint16(nil, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	for _, a := range []netip.Addr{from.Addr().Unmap(), to.Addr().Unmap()} {
		b = append(append(b, a.AsSlice()...), make([]byte, 16-len(a.AsSlice()))...)
	}
	b = append(b, 0, 0, 0, 0)                                        // any device
	return append(b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) // no cookie
}
