// Package sockets keeps listening sockets open over a restart of the agent. They are given to systemd to hold (its file descriptor
// store), and taken back at the next start: whoever connects meanwhile waits, and is not refused.
//
// Without systemd, or with a unit that has no FileDescriptorStoreMax=, they are bound anew at each start.
package sockets
