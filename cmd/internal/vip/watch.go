package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	mdnetlink "github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// portID is by what others see who has sent what over a connection.
func portID(c *mdnetlink.Conn) (id uint32, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		var name unix.Sockaddr
		if name, inner = unix.Getsockname(int(fd)); inner == nil {
			if n, ok := name.(*unix.SockaddrNetlink); ok {
				id = n.Pid
			}
		}
	})
	return id, errors.Join(err, inner)
}

// watch tells when somebody changes anything in the table but who ours says is us, or may have: when more is going on than can be
// followed. What it tells is a level: several changes can be told at once. stop ends it.
func watch(table string, ours func(sender uint32) bool) (changed <-chan struct{}, stop func(), err error) {
	conn, err := mdnetlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("watch the kernel's packet rules: %w", err)
	}
	if err := errors.Join(conn.SetReadBuffer(4<<20), conn.JoinGroup(unix.NFNLGRP_NFTABLES)); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("watch the kernel's packet rules: %w", err), conn.Close())
	}
	tell, done := make(chan struct{}, 1), make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			messages, err := conn.Receive()
			select {
			case <-done:
				return
			default:
			}
			changed := errors.Is(err, unix.ENOBUFS)
			if err != nil && !changed && !errors.Is(err, os.ErrDeadlineExceeded) {
				return // the connection is no more
			}
			for _, m := range messages {
				changed = changed || about(m, table) && !ours(m.Header.PID)
			}
			if changed {
				select {
				case tell <- struct{}{}:
				default: // it is told already
				}
			}
		}
	}()
	return tell, func() {
		close(done)
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		<-ended
		_ = conn.Close()
	}, nil
}

// about says whether a message is of a table, or of something in it.
func about(m mdnetlink.Message, table string) bool {
	if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || m.Header.Type&0xff == unix.NFT_MSG_NEWGEN || len(m.Data) < 4 || m.Data[0] != unix.NFPROTO_IPV4 {
		return false
	}
	d, err := mdnetlink.NewAttributeDecoder(m.Data[4:])
	if err != nil {
		return false
	}
	d.ByteOrder = binary.BigEndian
	for d.Next() {
		if d.Type() == 1 { // the name of the table, in every kind of message
			return d.String() == table
		}
	}
	return false
}

// claimed is where who keeps virtual addresses listens: in the network namespace, and nowhere in a folder.
func claimed() *net.UnixAddr { return &net.UnixAddr{Net: "unix", Name: "@podman-swarm/vip"} }

// claim waits until no other agent keeps virtual addresses in this network: two would undo each other's work. It ends when
// release is called, and with the process in whatever way.
func (k *kernel) claim(ctx context.Context) (release func(), err error) {
	at := claimed()
	every := time.NewTicker(retry)
	defer every.Stop()
	for {
		l, err := net.ListenUnix("unix", at)
		if err == nil {
			k.rules.problem(aboutClaim, "")
			return func() { _ = l.Close() }, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("claim this host's virtual addresses: %w", err)
		}
		by, uid := holder(at)
		if by != 0 && uid != os.Geteuid() {
			k.rules.Log.Warn("who may not keep virtual addresses is in the place where agents see each other; this one goes on all the same", "pid", by, "uid", uid)
			return func() {}, nil
		}
		k.rules.problem(aboutClaim, fmt.Sprintf("another agent on this host, process %d, keeps its virtual addresses, and only one can: run one of them with --service-cidr none", by))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-every.C:
		}
	}
}

// holder is the process that listens at a socket, and its user; 0 when that cannot be told.
func holder(at *net.UnixAddr) (pid, uid int) {
	c, err := net.DialUnix("unix", nil, at)
	if err != nil {
		return 0, 0
	}
	defer c.Close()
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid, uid = int(cred.Pid), int(cred.Uid)
		}
	})
	return pid, uid
}
