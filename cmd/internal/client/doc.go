// Package client speaks to an agent's API over HTTP: requests, answers, errors by their class, streams of JSON values, and
// watches that survive a restart of the agent.
//
// It knows paths and the shapes of what is answered, and nothing of tables, flags or terminals.
package client
