// Package discovery answers where a Service is found: its address, the replicas behind each of its ports, and for each
// replica that is not, why. It is a pure question put to the state: the same on every host that holds the same state and
// hears the same others, and the same after a restart.
package discovery
