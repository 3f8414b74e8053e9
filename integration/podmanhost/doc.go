// Package podmanhost gives tests, benchmarks and the demo a host of their own with real Podman on it: a service with
// its own storage, its own /run, its own network and its own processes. Nothing of the user's Podman is seen or
// touched, and nothing is left behind.
//
//	this process ──stdin── init (bash; pid 1 of its own pid and mount namespace)
//	                        ├─ podman system service ── unix socket ── whoever calls Socket()
//	                        └─ conmon ── container, one pair for each
//
// A host ends with its init, and init ends when its stdin does. So however this process dies, the kernel ends the
// service and all containers with it. After a SIGKILL the folder and empty cgroups stay, and a bridge with its firewall
// rules until the next host takes the same number.
//
// Hosts share the machine's own network namespace, so that published ports are at 127.0.0.1 as on a real host. Each
// has a bridge and a subnet of its own (swt7, 198.18.7.0/24: the block set aside for benchmarks, RFC 2544).
//
// A host that is opened apart has a network namespace, a machine id and boot ids too, and can lose its power: see OpenApart.
//
// It needs root, and what integration/setup.sh installs.
package podmanhost
