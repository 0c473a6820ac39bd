package api

import "time"

// Keys that expire while nobody asks for them. The loop that owns them looks once a second at least, and when the next one is
// due, as long as this node may write; it logs so many expiries a turn, so that a million keys with one deadline hold up
// nobody.

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
	due := l.shard.KVDueMs()
	if due == 0 || l.failed != nil || l.term.over {
		return // a put with a time to live, or the beginning of a term, has us look again
	}
	now := max(uint64(time.Now().UnixMilli()), l.shard.KVTime())
	if due > now {
		l.checkKeysBy(at + int64(min(due-now, 1000))*1e6)
		return
	}
	l.checkKeysBy(at + int64(kvExpireEvery))
	c, err := l.batch(kvExpireTurn * kvRecordsBytes)
	if err == nil {
		c.messages += l.shard.KVExpireDue(c.batch, now, kvExpireTurn)
	}
}
