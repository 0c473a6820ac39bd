package api

import (
	"strconv"

	"ayder/internal/jsonscan"
	"ayder/internal/query"
)

// POST /broker/query: filter, aggregate and project stored messages.
//
// What is asked and what is found are package query's. Here is the rest of the answer: what was read, and where to go on, which is
// never behind a message that was not looked at.

// queryEvaluation is a query that was read.
type queryEvaluation struct{ request *query.QueryRequest }

func runQuery(l *loop, x *exchange) (reply, error) {
	return l.evaluate(x, func(body []byte) (evaluation, error) {
		q, err := query.ParseQuery(body)
		if err != nil {
			return nil, err
		}
		return queryEvaluation{q}, nil
	})
}

func (q queryEvaluation) sources() []*query.Source { return []*query.Source{&q.request.Source} }

func (q queryEvaluation) answer(t *task, w *worker) ([]byte, error) {
	f, err := t.format(0, "source")
	if err != nil {
		return nil, err
	}
	compiled, err := q.request.Compile(f)
	if err != nil {
		return nil, err
	}
	s := t.scan(0, w)
	found, err := compiled.Run(t.limits(), s.all())
	if s.err != nil {
		return nil, s.err
	}
	if err != nil {
		return nil, err
	}
	t.home.server.workers.scanned.Add(uint64(found.Scanned))
	b := found.AppendJSON(beginAnswer())
	b = append(b, `,"source":`...)
	b = t.inputs[0].appendSource(b, found.Next, found.Scanned)
	b = append(b, `,"stats":{"scanned":`...)
	b = strconv.AppendInt(b, int64(found.Scanned), 10)
	b = appendMember(b, "matched", uint64(found.Matched))
	b = append(appendMember(b, "skipped", uint64(found.Skipped)), '}')
	b = appendTruncated(b, found.Truncated, found.TruncatedBy)
	return append(appendFollower(b, t.follower), '}'), nil
}

// appendTruncated appends the two members that say whether there was more, and what ended the evaluation before it.
func appendTruncated(b []byte, truncated bool, by string) []byte {
	if !truncated {
		return append(b, `,"truncated":false`...)
	}
	b = append(b, `,"truncated":true,"truncated_by":`...)
	return jsonscan.AppendString(b, []byte(by))
}

// appendSource appends what was read, and where to go on: next has the partitions of which messages were looked at.
func (in *input) appendSource(b []byte, next map[uint32]uint64, consumed int) []byte {
	b = jsonscan.AppendString(append(b, `{"topic":`...), []byte(in.source.Topic))
	b = append(b, `,"group":`...)
	if in.source.Group == "" {
		b = append(b, "null"...)
	} else {
		b = jsonscan.AppendString(b, []byte(in.source.Group))
	}
	if in.source.Partition != nil {
		b = appendMember(b, "partition", uint64(*in.source.Partition))
		b = appendMember(b, "next_offset", in.extents[0].behind(next))
	} else {
		b = append(b, `,"partition":null,"next_offsets":`...)
		b = in.appendNext(b, next)
	}
	return append(appendMember(b, "consumed", uint64(consumed)), '}')
}

// appendNext appends where to go on in each partition, in the form that a source takes as offsets.
func (in *input) appendNext(b []byte, next map[uint32]uint64) []byte {
	b = append(b, '{')
	for i := range in.extents {
		if i > 0 {
			b = append(b, ',')
		}
		e := &in.extents[i]
		b = append(strconv.AppendUint(append(b, '"'), uint64(e.stream.Partition), 10), '"', ':')
		b = strconv.AppendUint(b, e.behind(next), 10)
	}
	return append(b, '}')
}

// behind is where to go on: behind the last message that was looked at, or where the reading began.
func (e *extent) behind(next map[uint32]uint64) uint64 {
	if n, ok := next[e.stream.Partition]; ok {
		return n
	}
	return e.first
}
