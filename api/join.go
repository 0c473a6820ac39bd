package api

import (
	"strconv"

	"ayder/internal/query"
)

// POST /broker/join: pairs of messages of two streams, whose keys are equal and whose times are close.
//
// As with queries, what is asked and found are package query's. A join that ends early says two things for each side:
// behind which message it did not look (next_offsets), and from where on a message may still lack a partner (resume_offsets).

// joinEvaluation is a join that was read.
type joinEvaluation struct{ request *query.JoinRequest }

func runJoin(l *loop, x *exchange) (reply, error) {
	return l.evaluate(x, func(body []byte) (evaluation, error) {
		q, err := query.ParseJoin(body)
		if err != nil {
			return nil, err
		}
		return joinEvaluation{q}, nil
	})
}

func (q joinEvaluation) sources() []*query.Source {
	return []*query.Source{&q.request.Left, &q.request.Right}
}

func (q joinEvaluation) answer(t *task, w *worker) ([]byte, error) {
	left, err := t.format(0, "left")
	if err != nil {
		return nil, err
	}
	right, err := t.format(1, "right")
	if err != nil {
		return nil, err
	}
	compiled, err := q.request.Compile(left, right)
	if err != nil {
		return nil, err
	}
	scans := [2]*scan{t.scan(0, w), t.scan(1, w)}
	found, err := compiled.Run(t.limits(), scans[0].byTime(), scans[1].byTime())
	for _, s := range scans {
		if s.err != nil {
			return nil, s.err
		}
	}
	if err != nil {
		return nil, err
	}
	t.home.server.workers.scanned.Add(uint64(found.Left.Scanned + found.Right.Scanned))
	b := found.AppendRows(beginAnswer())
	b = t.appendPlaces(append(b, `,"next_offsets":`...), found.Left.Next, found.Right.Next)
	b = t.appendPlaces(append(b, `,"resume_offsets":`...), found.Left.Resume, found.Right.Resume)
	b = found.AppendStats(append(b, ','))
	b = appendTruncated(b, found.Truncated, found.TruncatedBy)
	return append(appendFollower(b, t.follower), '}'), nil
}

// appendPlaces appends an offset for each side, or an object of offsets for a side of all partitions.
func (t *task) appendPlaces(b []byte, left, right map[uint32]uint64) []byte {
	b = t.inputs[0].appendPlace(append(b, `{"left":`...), left)
	b = t.inputs[1].appendPlace(append(b, `,"right":`...), right)
	return append(b, '}')
}

func (in *input) appendPlace(b []byte, next map[uint32]uint64) []byte {
	if in.source.Partition == nil {
		return in.appendNext(b, next)
	}
	return strconv.AppendUint(b, in.extents[0].behind(next), 10)
}
