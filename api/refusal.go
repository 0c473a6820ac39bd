package api

import "errors"

// Refusals that speak of the state: "the next offset is 7", "that topic does not exist". In a cluster they must be true
// at some moment between question and answer, like any read, and what a leader knows may be too new or too old for that:
//
//	too new   offsets were given to batches that are not committed and may never be. The refusal waits for the last of
//	          them, and becomes leadership_lost with it
//	too old   nothing is in flight, but another node may lead by now. The lease says no, or else a barrier is waited for
//	          and the request is judged again
//
// A refusal of the request itself (400, 413 …) is true whoever leads. So is success: what it reports was committed.

// vouch gives the answer to x, which was refused with err, now or when it is certain.
func (l *loop) vouch(x *exchange, err error) (reply, error) {
	cluster := l.server.options.Cluster
	var e *Error
	if cluster == nil || x.route.where != leaderOnly || !errors.As(err, &e) || !e.tellsState() {
		return reply{}, err
	}
	if last := l.lastBatch(); last != nil {
		clone := x.cloned()
		clone.refusal = e
		return l.park(last.batch, x, waiter{kind: owedRefusal, again: clone}), nil
	}
	if x.confirmed || cluster.Leased() {
		return reply{}, err
	}
	return reply{later: true}, l.awaitBarrier(x)
}

// tellsState tells whether the error depends on what is stored.
func (e *Error) tellsState() bool {
	switch e.Code {
	case errUnknownTopic.Code, errPartition.Code, errTopicExists.Code, errShrink.Code, errExpected.Code, errAboveEnd.Code, errBelowFloor.Code, errCAS.Code,
		errFenced.Code, errUnknownMember.Code, errGroupActive.Code, errUnknownGroup.Code:
		return true
	}
	return false
}

// lastBatch is the newest batch that is not committed, nil if there is none.
func (l *loop) lastBatch() *commit {
	if l.open != nil && !l.open.batch.Empty() {
		return l.open
	}
	if n := len(l.flight); n > 0 {
		return l.flight[n-1]
	}
	return nil
}
