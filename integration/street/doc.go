// Package street is some hosts on this one machine, and the wires between them.
//
//	h1                    h2                    h3           each: a network, mount and pid namespace of its own,
//	├─ Podman service     ├─ …                  ├─ …         with its own /run, machine and boot ids, storage and network
//	├─ containers         │                     │
//	└─ agent on 127.0.0.1 └─ …                  └─ …
//	     eth0 10.77.0.1        eth0 10.77.0.2        eth0 10.77.0.3
//	       └────────────────────┴── Switch ──────────┘       in this process: one TAP device for each host
//
// The Switch carries each frame by hand, so a wire can be cut for all, for a pair or one way only, and can be slow, lossy
// and unsteady, which the kernel of a test machine often has no means for (sch_netem).
//
// Nothing has a name or a number on the machine that another run could have: namespaces and devices are anonymous, and
// end with the last process in them. However this process ends, the kernel ends the hosts and all that was in them.
// What a SIGKILL leaves is a folder and empty cgroups, which the next Open with the same Options.Dir removes.
//
// It needs root, and what integration/setup.sh installs.
package street
