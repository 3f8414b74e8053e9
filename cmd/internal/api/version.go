package api

import (
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/podman-swarm/podman-swarm/events"
)

// indexBits are the lower bits of a resourceVersion, which are an index in the log: a million million events. The 22
// above them are the epoch, so that the whole fits into a signed 64-bit number, which many clients take it for.
const (
	indexBits = 40
	epochBits = 22
)

// EpochOf is the epoch of a log of that incarnation: from 1 to 2²²-1.
func EpochOf(inc events.Incarnation) uint64 { return uint64(inc)%(1<<epochBits-1) + 1 }

// resourceVersion is the text for what was shown after the event with that index.
func (s *Server) resourceVersion(index uint64) string {
	return strconv.FormatUint(s.Epoch()<<indexBits|index&(1<<indexBits-1), 10)
}

// indexOf is the index in a resourceVersion of this log; false for those of another's.
func (s *Server) indexOf(version string) (index uint64, ours bool, err error) {
	n, err := strconv.ParseUint(version, 10, 63)
	if err != nil {
		return 0, false, apierrors.NewBadRequest("resourceVersion " + strconv.Quote(version) + ": want a number that this server has given")
	}
	return n & (1<<indexBits - 1), n>>indexBits == s.Epoch(), nil
}
