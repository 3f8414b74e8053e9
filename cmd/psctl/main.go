// Command psctl speaks to a Podman Swarm agent: it applies manifests, shows what runs and why not, and reads the log.
package main

import (
	"context"
	"os"
	"os/signal"
)

// version is set by the linker.
var version = "unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second interrupt ends us whatever we do
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
