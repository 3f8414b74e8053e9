package events

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// AppendLines appends one line of JSON for each event of the record to dst, for people and jq: what the log holds of
// it, with the index and the time that this log gave it. c is the record's commit, or nil when it is of a format that
// this version does not understand; then there is one line, with its bytes as they are.
//
// The fields, empty ones left out, in this order: index, at, node, stamp, kind, key, uid, base, for, ends, actor, cause,
// commit (first index, number of events, hash), object. A Jump is one line, with cause and heads instead of an event.
func AppendLines(dst []byte, r Record, c *Commit) []byte {
	if r.Inc == 0 {
		return appendJump(dst, r)
	}
	if c == nil {
		return appendUnread(dst, r)
	}
	for i := range c.Events {
		e := &c.Events[i]
		dst = appendPlace(dst, r.Index+uint64(i), r.At)
		dst = appendField(dst, `,"node":`, c.Node)
		dst = append(dst, `,"stamp":"`...)
		dst = append(c.Stamp(i).append(dst), `","kind":`...)
		dst = appendString(dst, string(e.Kind))
		dst = appendString(append(dst, `,"key":`...), e.Key)
		dst = append(dst, `,"uid":"`...)
		dst = append(e.UID.append(dst), '"')
		dst = appendStamp(dst, `,"base":"`, e.Base)
		dst = appendStamp(dst, `,"for":"`, e.For)
		for n, end := range e.Ends {
			if n == 0 {
				dst = append(dst, `,"ends":[{"uid":"`...)
			} else {
				dst = append(dst, `,{"uid":"`...)
			}
			dst = append(end.UID.append(dst), '"')
			dst = append(appendStamp(dst, `,"base":"`, end.Base), '}')
		}
		if len(e.Ends) > 0 {
			dst = append(dst, ']')
		}
		dst = appendField(dst, `,"actor":`, c.Actor)
		dst = appendField(dst, `,"cause":`, c.Cause)
		dst = appendRecord(dst, r)
		if e.Object != nil {
			dst = appendValue(append(dst, `,"object":`...), e.Object)
		}
		dst = append(dst, "}\n"...)
	}
	return dst
}

// appendJump is the line of a jump. The state in it is left out: it is binary, and may be large.
func appendJump(dst []byte, r Record) []byte {
	j, err := parseJump(r.Payload)
	if err != nil {
		return appendUnread(dst, r)
	}
	heads, err := json.Marshal(j.Jump.Heads)
	if err != nil {
		return appendUnread(dst, r)
	}
	dst = appendPlace(dst, r.Index, r.At)
	dst = appendString(append(dst, `,"jump":{"cause":`...), j.Jump.Cause)
	dst = append(append(dst, `,"heads":`...), heads...)
	dst = append(dst, '}')
	return append(appendRecord(dst, r), "}\n"...)
}

// appendUnread is the line of a record whose commit is not understood.
func appendUnread(dst []byte, r Record) []byte {
	dst = appendPlace(dst, r.Index, r.At)
	dst = append(dst, `,"id":"`...)
	dst = append(ID{r.Inc, r.Seq}.append(dst), `","unread":"a commit that this version does not understand"`...)
	dst = appendRecord(dst, r)
	if json.Valid(r.Payload) {
		dst = appendValue(append(dst, `,"payload":`...), r.Payload)
	} else {
		dst = appendString(append(dst, `,"payload":`...), string(r.Payload))
	}
	return append(dst, "}\n"...)
}

func appendPlace(dst []byte, index uint64, at time.Time) []byte {
	dst = append(dst, `{"index":`...)
	dst = strconv.AppendUint(dst, index, 10)
	dst = append(dst, `,"at":"`...)
	return append(at.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z"), '"')
}

func appendRecord(dst []byte, r Record) []byte {
	dst = append(dst, `,"commit":{"first":`...)
	dst = strconv.AppendUint(dst, r.Index, 10)
	dst = append(dst, `,"events":`...)
	dst = strconv.AppendUint(dst, uint64(r.Count), 10)
	dst = append(dst, `,"hash":"`...)
	return append(appendHash(dst, r.Hash), `"}`...)
}

func appendStamp(dst []byte, name string, s Stamp) []byte {
	if s.IsZero() {
		return dst
	}
	return append(s.append(append(dst, name...)), '"')
}

// appendValue appends JSON that is kept on one line whoever wrote it.
func appendValue(dst, raw []byte) []byte {
	if bytes.IndexByte(raw, '\n') < 0 {
		return append(dst, raw...)
	}
	b := bytes.NewBuffer(dst)
	if err := json.Compact(b, raw); err != nil { // not JSON at all, which no log of ours holds
		return appendString(dst, string(raw))
	}
	return b.Bytes()
}
