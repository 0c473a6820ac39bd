package api

import "time"

// Keys that expire while nobody asks for them. The loop that owns them looks when the next one is due, and once a second at
// least, as long as this node may write and there is one; it logs so many expiries a turn, so that a million
// keys with one deadline hold up nobody. A put with a time to live and the beginning of a term have it look again.

// checkKeysBy has the loop look for keys that are due at monotonic time at the latest.
func (l *loop) checkKeysBy(at int64) {
	if l.keysAt == 0 || at < l.keysAt {
		l.keysAt = at
		l.net.WakeAt(at)
	}
}

// expireKeys logs the end of keys that are due.
func (l *loop) expireKeys() {
	at := l.net.Now()
	if l.keysAt == 0 || at < l.keysAt || l.draining {
		return
	}
	l.keysAt = 0
	if l.failed != nil || l.term.over {
		return
	}
	due := l.shard.KVDueMs()
	now := max(uint64(time.Now().UnixMilli()), l.shard.KVTime())
	switch {
	case due == 0 && l.lastBatch() == nil: // else one may be in flight
		return
	case due == 0:
		l.checkKeysBy(at + int64(kvExpireIdle))
	case due > now:
		l.checkKeysBy(at + int64(min(due-now, 1000))*1e6)
	default:
		l.logExpiries(at, now)
	}
}

func (l *loop) logExpiries(at int64, now uint64) {
	c, err := l.batch(kvExpireTurn * kvRecordsBytes)
	if err != nil {
		l.checkKeysBy(at + int64(kvExpireIdle))
		return
	}
	c.messages += l.shard.KVExpireDue(c.batch, now, kvExpireTurn)
	l.checkKeysBy(at + int64(kvExpireEvery))
}
