package sync

// Bus is all that this package needs of a messaging system: NATS, or what stands in for it in tests.
//
// It may lose messages, repeat them, and deliver those of different publishers in any order. Of one publisher, what it
// delivers to one subscription comes in the order in which it was published.
type Bus interface {
	// Publish sends data to every other host that has subscribed to the subject and is in reach. It waits for none of
	// them; nil says nothing about who gets it. data must not be changed afterwards.
	Publish(subject string, data []byte) error
	// Subscribe calls deliver with what the other hosts publish to subjects that the pattern matches (in the words of
	// NATS: "swarm.1.default.log.>"), from one goroutine, until stop is called. When deliver is slow, the newest
	// messages may be lost, and the others are not held up. data is the receiver's.
	Subscribe(pattern string, deliver func(subject string, data []byte)) (stop func(), err error)
}
