package api

import (
	"errors"

	"ayder/engine"
)

// Committing a group's offset. Only the partition's loop is needed, unless the commit names a member of a coordinated
// group: then the catalogue's loop has a look first, and what it has let through is committed even if the member loses the
// partition in between, as if it had come a moment earlier. A commit without a member is anybody's, also where there are
// members: an operator's tool, or a consumer from before the group had any.

// commitRequest is the body of POST /broker/commit.
type commitRequest struct {
	Topic     *string `json:"topic"`
	Group     *string `json:"group"`
	Partition *uint32 `json:"partition"`
	Offset    *uint64 `json:"offset"`

	Member     *string `json:"member"` // of a coordinated group, with
	Generation *uint64 `json:"generation"`
}

var commitFields = fieldsOf(commitRequest{})

// commitOffset moves a group's committed offset forward; the answer waits until that is durable.
func commitOffset(l *loop, x *exchange) (reply, error) {
	q, err := x.commitRequest()
	if err != nil {
		return reply{}, err
	}
	x.args.topic, x.args.partition = []byte(*q.Topic), *q.Partition
	p, owner, err := l.partition(&x.args)
	if err != nil {
		return reply{}, err
	}
	if q.Member != nil && !x.fenced {
		if l.index != engine.CatalogueShard {
			return l.forward(engine.CatalogueShard, x)
		}
		if err := l.fence([]byte(*q.Group), []byte(*q.Member), *q.Generation, p.Stream()); err != nil {
			return reply{}, err
		}
		x.fenced = owner != l.index
	}
	if owner != l.index {
		return l.forward(owner, x)
	}
	c, err := l.batch(len(x.body) + len(x.head))
	if err != nil {
		return reply{}, err
	}
	offset := l.server.options.commitIn(*q.Offset)
	res, err := l.shard.CommitOffset(c.batch, p, []byte(*q.Group), offset)
	switch {
	case errors.Is(err, engine.ErrOffsetAbove):
		return reply{}, errAboveEnd.offsets(p.Floor(), p.Next())
	case errors.Is(err, engine.ErrGroupLimit):
		return reply{}, errOverloaded.with("%v", err)
	case err != nil:
		return reply{}, err
	case res.Changed:
		return l.park(c.batch, x, waiter{kind: owedOK, target: p, concern: l.commandConcern()}), nil
	case res.Pending != nil:
		return l.park(l.behind(res.Pending, x), x, waiter{kind: owedOK, target: p}), nil
	}
	l.body = append(l.body[:0], `{"ok":true}`...)
	return reply{status: 200, body: l.body}, nil
}

// commitRequest reads and checks the body.
func (x *exchange) commitRequest() (q commitRequest, err error) {
	if err := decodeCommand(x.body, &q, commitFields); err != nil {
		return q, err
	}
	switch {
	case q.Topic == nil || *q.Topic == "":
		return q, errMissingTopic
	case q.Group == nil || !engine.ValidName(*q.Group):
		return q, errBadGroup
	case q.Partition == nil:
		return q, errBadJSON.with("partition is required")
	case q.Offset == nil || *q.Offset >= 1<<63:
		return q, errBadJSON.with("offset is required, an integer from 0 to 2^63-1")
	case (q.Member == nil) != (q.Generation == nil):
		return q, errBadJSON.with("member and generation go together")
	case q.Member != nil && !engine.ValidName(*q.Member):
		return q, errBadMemberID
	}
	return q, checkTopic([]byte(*q.Topic), x.scope)
}
