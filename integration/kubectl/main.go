// Command kubectl is kubectl as Kubernetes builds it, of one version, for the tests that hold the agent's API to it. It
// is a module of its own, so that nothing of it counts among what Podman Swarm itself is built from.
package main

import (
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
}
