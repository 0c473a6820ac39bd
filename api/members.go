package api

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"

	"ayder/engine"
	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// Coordinated groups over plain requests: join, heartbeat, leave. Any connection will do, to any node: the leader's
// catalogue loop answers.
//
// Every call means "see to it that": that I am a member, that you know which generation I act by, that I am out. If a command
// is needed it is put into the batch and the request executed again once that is durable; then nothing is needed any
// more, and the answer is read off what was applied. A call that is repeated because its answer was lost does no harm.
//
//	join        → member, generation, assigned, revoked
//	heartbeat   names the generation of the last answer that its sender acts by: it has stopped handling what that one lacks
//	poll        is a heartbeat that brings messages (poll.go)
//
// "assigned" is what the member may handle, "revoked" what it must stop handling before it names this generation.

// grouped is what a request about groups remembers while it is executed again and again.
type grouped struct {
	member    string     // the ID that a joining member was given
	positions *positions // of a member's partitions, once they are known
	tour      tour       // over the loops, of a request that changes something on each
	fenced    bool       // its member handles the partition that it commits for
}

type joinRequest struct {
	Member    *string  `json:"member"`
	Topics    []string `json:"topics"`
	SessionMs *uint64  `json:"session_ms"`
}

type heartbeatRequest struct {
	Member     *string `json:"member"`
	Generation uint64  `json:"generation"`
}

type leaveRequest struct {
	Member *string `json:"member"`
}

var (
	joinFields      = fieldsOf(joinRequest{})
	heartbeatFields = fieldsOf(heartbeatRequest{})
	leaveFields     = fieldsOf(leaveRequest{})
)

// joinGroup makes the caller a member.
func joinGroup(l *loop, x *exchange) (reply, error) {
	var q joinRequest
	if err := decodeCommand(x.body, &q, joinFields); err != nil {
		return reply{}, err
	}
	m, err := q.check(x)
	if err != nil {
		return reply{}, err
	}
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	if m.ID == "" {
		if x.member == "" {
			x.member = newMemberID()
		}
		m.ID = x.member
	}
	l.heardOf(x.args.group, []byte(m.ID))
	c, err := l.shard.JoinGroup(l.openBatch, x.args.group, m)
	if wait := c.Batch(); err != nil || wait != nil {
		return l.after(wait, x, memberError(err))
	}
	l.heardOf(x.args.group, []byte(m.ID))
	return l.assignment(x, []byte(m.ID))
}

// check reads a member off the request; its ID is empty if it is to be given one.
func (q *joinRequest) check(x *exchange) (m engine.Member, err error) {
	m.SessionMs = sessionMsDefault
	if q.SessionMs != nil {
		if *q.SessionMs < engine.SessionMsMin || *q.SessionMs > engine.SessionMsMax {
			return m, errBadJSON.with("session_ms is from %d to %d", engine.SessionMsMin, engine.SessionMsMax)
		}
		m.SessionMs = uint32(*q.SessionMs)
	}
	if q.Member != nil {
		if m.ID = *q.Member; !engine.ValidName(m.ID) {
			return m, errBadMemberID
		}
	}
	if len(q.Topics) < 1 || len(q.Topics) > engine.GroupTopicsMax {
		return m, errBadJSON.with("topics is a list of 1 to %d names", engine.GroupTopicsMax)
	}
	m.Topics = slices.Clone(q.Topics)
	slices.Sort(m.Topics)
	for i, name := range m.Topics {
		if err := checkTopic([]byte(name), x.scope); err != nil {
			return m, err
		}
		if i > 0 && m.Topics[i-1] == name {
			return m, errBadJSON.with("topic %q occurs twice", name)
		}
	}
	return m, nil
}

// newMemberID is an ID that nobody has: it goes into the log, so every node learns of the same one.
func newMemberID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails
	return "m-" + hex.EncodeToString(b[:])
}

// heartbeat says that a member is alive and what it knows.
func heartbeat(l *loop, x *exchange) (reply, error) {
	var q heartbeatRequest
	if err := decodeCommand(x.body, &q, heartbeatFields); err != nil {
		return reply{}, err
	}
	if q.Member == nil || !engine.ValidName(*q.Member) {
		return reply{}, errBadMemberID
	}
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	member := []byte(*q.Member)
	l.heardOf(x.args.group, member)
	if wait, err := l.acknowledge(x.args.group, member, q.Generation); err != nil || wait != nil {
		return l.after(wait, x, err)
	}
	return l.assignment(x, member)
}

// acknowledge sees to it that a member is known to act by generation. A batch: that is not so before it is done.
func (l *loop) acknowledge(group, member []byte, generation uint64) (*record.Batch, error) {
	c, err := l.shard.Acknowledge(l.openBatch, group, member, generation)
	return c.Batch(), memberError(err)
}

// leaveGroup takes the caller out. Who is not in has left already.
func leaveGroup(l *loop, x *exchange) (reply, error) {
	var q leaveRequest
	if err := decodeCommand(x.body, &q, leaveFields); err != nil {
		return reply{}, err
	}
	if q.Member == nil || !engine.ValidName(*q.Member) {
		return reply{}, errBadMemberID
	}
	if l.index != engine.CatalogueShard {
		return l.forward(engine.CatalogueShard, x)
	}
	if err := l.reaches(x, []byte(*q.Member)); err != nil {
		return reply{}, err
	}
	c, err := l.shard.LeaveGroup(l.openBatch, x.args.group, []string{*q.Member})
	if wait := c.Batch(); err != nil || wait != nil {
		return l.after(wait, x, err)
	}
	l.body = append(l.body[:0], `{"ok":true}`...)
	return reply{status: 200, body: l.body}, nil
}

// openBatch is the open batch with room for a command.
func (l *loop) openBatch(size int) (*record.Batch, error) {
	c, err := l.batch(size)
	if err != nil {
		return nil, err
	}
	return c.batch, nil
}

// after executes x again when a batch is done, unless there is an error.
func (l *loop) after(b *record.Batch, x *exchange, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	l.exclude(x.conn)
	return l.park(b, x, waiter{kind: owedExecute, again: x.cloned()}), nil
}

func memberError(err error) error {
	switch {
	case errors.Is(err, engine.ErrNoMember):
		return errUnknownMember
	case errors.Is(err, engine.ErrFenced):
		return errFenced.with("the group has not seen that generation yet: join again")
	case errors.Is(err, engine.ErrMemberLimit):
		return errOverloaded.with("%v", err)
	}
	return err
}

// reaches tells whether the token reaches all topics of a member, if it is one.
func (l *loop) reaches(x *exchange, member []byte) error {
	m := l.shard.Membership(x.args.group)
	if m == nil {
		return nil
	}
	if _, have := m.Member(member); have != nil {
		for _, topic := range have.Topics {
			if err := checkTopic([]byte(topic), x.scope); err != nil {
				return err
			}
		}
	}
	return nil
}

// assignment tells a member what it is to handle.
func (l *loop) assignment(x *exchange, member []byte) (reply, error) {
	if err := l.reaches(x, member); err != nil {
		return reply{}, err
	}
	m := l.shard.Membership(x.args.group)
	if m == nil {
		return reply{}, errUnknownMember
	}
	i, have := m.Member(member)
	if have == nil {
		return reply{}, errUnknownMember
	}
	b := append(l.body[:0], `{"ok":true,"group":`...)
	b = jsonscan.AppendString(b, x.args.group)
	b = append(b, `,"member":`...)
	b = jsonscan.AppendString(b, member)
	b = appendMember(b, "session_ms", uint64(have.SessionMs))
	b = appendMember(b, "heartbeat_ms", heartbeatMs(m, have))
	b = appendAssignment(b, m, i)
	l.body = append(b, '}')
	return reply{status: 200, body: l.body}, nil
}

// heartbeatMs is how long a member may wait until it asks again: not long while partitions move.
func heartbeatMs(m *engine.Membership, member *engine.Member) uint64 {
	if m.Moving() {
		return heartbeatMovingMs
	}
	return uint64(member.SessionMs) / 3
}

// appendAssignment renders generation, assigned and revoked.
func appendAssignment(b []byte, m *engine.Membership, member int) []byte {
	b = appendMember(b, "generation", m.Generation())
	b = append(b, `,"assigned":[`...)
	b = appendShares(b, m, member, true)
	b = append(b, `],"revoked":[`...)
	b = appendShares(b, m, member, false)
	return append(b, ']')
}

// appendShares renders the partitions of a member that it keeps, or that it does not.
func appendShares(b []byte, m *engine.Membership, member int, kept bool) []byte {
	n := 0
	m.Assigned(member, func(topic string, s record.Stream, k bool) {
		if k != kept {
			return
		}
		if n++; n > 1 {
			b = append(b, ',')
		}
		b = append(appendPlace(append(b, '{'), topic, s.Partition), '}')
	})
	return b
}

// appendPlace renders `"topic":"t","partition":0`.
func appendPlace(b []byte, topic string, partition uint32) []byte {
	b = append(b, `"topic":`...)
	b = jsonscan.AppendString(b, []byte(topic))
	b = append(b, `,"partition":`...)
	return strconv.AppendUint(b, uint64(partition), 10)
}

// fence tells whether a commit that names a member and its generation may be made, on the catalogue's loop. A
// commit is a sign of life, too.
func (l *loop) fence(group, member []byte, generation uint64, s record.Stream) error {
	l.heardOf(group, member)
	m := l.shard.Membership(group)
	switch err := m.Fence(member, generation, s); {
	case err == nil:
		return nil
	case errors.Is(err, engine.ErrNoMember):
		return errUnknownMember
	}
	return errFenced
}
