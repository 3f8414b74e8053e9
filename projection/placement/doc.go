// Package placement decides which replica runs where: pure questions put to a projection.State and to what is heard of the
// hosts now ([Cluster]), and [Decider], the small loop that records the answers.
//
// A placement is an event like any other, so people can ask who put a replica somewhere and why, and an agent that
// returns finds out what was decided while it was away. Nothing here knows Podman: what runs is what hosts say runs.
//
// # Who decides
//
// Of the hosts that are alive, ready and writable the first by name; every host runs a Decider and finds out by itself.
// There is no election and no memory: what there is to know is in the state. Hosts that do not hear each other may both
// decide. Of two decisions about one replica that for the newer declaration is shown, or else the later one; replicas too
// many are scaled away and host ports that were given away twice are parted by whoever decides next.
//
// # Where
//
// A host takes a replica that is known (it has said what it is, and was not removed), alive, ready, writable, not cordoned,
// drained or about to stop, whose Podman answers, whose taints the replica tolerates, whose labels fit nodeSelector and
// required node affinity, on which its host ports are free and which has the cpu and memory that it asks for beside what all
// others there ask for; and for which required pod affinity and anti-affinity (of both sides) and
// topologySpreadConstraints hold. A cordon is obeyed whatever is tolerated. Of several the best is, in this order: that with
// the fewest taints to be avoided; as topologySpreadConstraints that need not hold would have it; preferred by affinity;
// with the fewest replicas of the Deployment; that of whose cpu and memory the smallest share is asked for; with the fewest
// replicas; first by name. The placement says which of these it was. A host's labels are its own, and over them what
// people gave it.
//
// Places that a topologySpreadConstraint compares are those of hosts that take replicas: a host that is away or cordoned
// holds up nobody.
//
// # When a host is gone
//
// Its replicas get other hosts when nobody on this side has heard of it for RescheduleAfter (or, if it said that it would
// be back, for ReturnAfter), and this side is a majority of the known hosts: by the word of each member that it hears
// the next, so a link that works one way only counts for nothing. Of two halves it is the one with the first name. Hosts
// that a person said to be down are not counted; of those, and of removed ones, replicas move at once. A replica that was
// moved stays twice as long before it is moved again, an hour at most. One that may write to a folder of its host moves on a
// person's word only. One for which there is no other host stays placed where it is. Nothing moves back by itself.
//
// From a host that is drained, or has a NoExecute taint that they do not tolerate, replicas leave as old ones leave in a
// rolling update, within maxSurge and maxUnavailable, and only for room that there is; in a roll-out that is under way, first.
// Where it stands still, since what is new does not run, the old ones leave as they are, one by one: each runs on there until
// it runs elsewhere. [Stuck] says what each waits for.
//
// What hosts said of their replicas holds no longer once they are silent ([AsSeen]): such replicas are neither ready nor
// available.
//
// # When clocks are wrong
//
// For how long a host is silent, and this side a majority, is elapsed time: what is handed in keeps its monotonic readings, so it matters to nobody
// that a clock is set meanwhile. What is shown of it is put as the clock has it now.
//
// Since when a replica is ready is by its host's clock. Where that is a time to come, the Decider counts from when it saw it first, on its own: so
// minReadySeconds, and the 5 s, are held to, and no roll-out waits for as long as the other clock is ahead. It remembers that (runs) for as long as
// it is the same run, also when the time has come; another host that decides from then on sees it for the first time, and waits once more.
//
// A status remembers nothing, since it follows from the state and the time alone. There a replica that is ready since a time to come counts as
// available, by the newest event of the state: by then it was known to be ready. That errs on the side of not having people wait for a clock, and
// of a roll-out that stands still being called that; what it costs is that the last replica may be shown as available minReadySeconds too early, and
// once more as not available for that long when the time has come. A clock that is ahead by no more than minReadySeconds is waited for instead:
// that bounds the wait to twice of it, and clocks that differ by what is common have no status go to and fro.
//
// That a replica was moved at a time to come is no word on when that was: it may be moved again as if it never had been.
//
// A clock that is behind is not found out: its host's replicas count as ready for longer than they are.
//
// # When events are recorded again
//
// A fork ends with one side recorded again under other numbers. A placement keeps those that it had ([projection.Placement].Was): its
// container is labelled by them. Who has decided elsewhere for a Deployment of that side names an owner that is no more. That is no evidence that
// it was deleted where its number is not known, or the placement is for the version that is shown, which has kept its time: then the
// placement is decided once more as it is, under its owner's number now, before anything else.
//
// A placement may be for a version of its Deployment that nobody holds, or not under this number, and that is greater than the one that is
// shown. What is decided of it, from its own template, is for that version too: for the lesser one it would not be shown.
//
// # What a decision costs
//
// The Decider keeps an inventory of what is placed where, in step with the log: a decision costs the hosts and the
// replicas of its Deployment, not all placements. [Decide] and [Stuck] read the state anew.
package placement
