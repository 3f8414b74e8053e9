package vip

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
)

// Cleanup removes what Run in mode Kernel has set up for a cluster of that name, and nothing else: the table, and, whatever the virtual
// addresses are or were, the route to them and the resolver's address. Nothing of it being there is no error. While an agent keeps virtual
// addresses here, of whatever cluster, nothing is touched, and the error says so: it would set up again what is taken from it. One that is
// started meanwhile waits. Connections through a virtual address may end.
func Cleanup(cluster string) error {
	release, err := alone()
	if err != nil {
		return err
	}
	defer release()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("remove the virtual addresses: %w", err)
	}
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("remove the virtual addresses: %w", err)
	}
	t := &nftables.Table{Name: TableName(cluster), Family: nftables.TableFamilyIPv4}
	conn.AddTable(t) // so that there is one to remove
	conn.DelTable(t)
	errs := []error{conn.Flush()}
	routes, err := ours(lo)
	errs = append(errs, err)
	for _, cidr := range routes {
		errs = append(errs, disconnect(lo, cidr))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove the virtual addresses: %w", err)
	}
	return nil
}

// alone sees to it that no agent keeps virtual addresses here until release is called; an error says which one does.
func alone() (release func(), err error) {
	l, err := net.ListenUnix("unix", claimed())
	if err == nil {
		return func() { _ = l.Close() }, nil
	}
	if !errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("see whether an agent keeps virtual addresses here: %w", err)
	}
	by, uid := holder(claimed())
	if by != 0 && uid != os.Geteuid() {
		return func() {}, nil // who may not keep any is in the place where agents see each other
	}
	return nil, fmt.Errorf("an agent runs on this host, process %d, and keeps its virtual addresses: stop it first", by)
}

// Tables are the names of the tables that are there of clusters, this one's or another's, in order.
func Tables() ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("look for tables of nftables: %w", err)
	}
	all, err := conn.ListTablesOfFamily(nftables.TableFamilyIPv4)
	if err != nil {
		return nil, fmt.Errorf("look for tables of nftables: %w", err)
	}
	var names []string
	for _, t := range all {
		if strings.HasPrefix(t.Name, tablePrefix) {
			names = append(names, t.Name)
		}
	}
	slices.Sort(names)
	return names, nil
}
