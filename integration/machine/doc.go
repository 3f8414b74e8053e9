// Package machine boots a machine with systemd as its first process, to see the agent's unit do what README says of it.
//
//	this process ── systemd (pid 1 of its own pid, mount, network, cgroup, uts and ipc namespaces)
//	                 ├─ podman.socket, podman.service ── containers
//	                 └─ podman-swarm-agent.service
//
// Its file system is this machine's, with what is written to it kept apart (overlayfs) and thrown away in the end. So
// Podman, systemd and all tools are those that are installed here, while nothing here is changed. Its network has lo alone.
//
// However this process ends, the kernel ends the machine and all that is in it. A SIGKILL leaves the folder and empty cgroups,
// which the next Boot removes.
//
// It needs root, and what integration/setup.sh installs for tests.
package machine
