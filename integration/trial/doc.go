// Package trial is what the trials by crash and by power cut share with the tests of whole binaries: an agent as a
// process that is killed and started again, load upon it with a record of what it acknowledged, the containers that
// must outlive it, and what its log says afterwards.
//
// It knows the agent from outside alone: its flags, its API, its signals, its log commands.
package trial
