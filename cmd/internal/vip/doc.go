// Package vip makes the virtual address of each Service answer on this host, over TCP and UDP, and its NodePorts.
//
// It is told what there is to be reached (a discovery.Source), and makes it so: as root with rules of nftables in a table of
// its own, so that no packet passes through this process and all goes on while the agent is away; without that privilege with
// a proxy in this process, on loopback addresses that stand for the virtual ones. It knows nothing of names, and asks no
// other host anything.
package vip
