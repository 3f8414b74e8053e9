// Package client speaks to an agent's API over HTTP: requests, errors by their class, streams of JSON values, and
// watches that survive a restart of the agent.
//
// It knows paths and the shapes of errors, and nothing of tables, flags or terminals.
package client
