package events

import "encoding/hex"

// ID is what tells this log from all others, for as long as its folder lives: 32 hexadecimal digits. A copy of the folder has the same.
func (l *Log) ID() string { return hex.EncodeToString(l.id[:]) }

// First is the index of the first event that the log holds; of a log that holds none, that of the next one.
func (l *Log) First() uint64 {
	t := l.tail.Load()
	return t.markAt(0).index
}
