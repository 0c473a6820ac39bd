package query

// Operator is a query or join that runs for good, over messages as they come. It is deterministic: of the same messages in the same order
// come the same rows, also where it was put away and restored in between.
type Operator interface {
	// Push takes the next message of a source: 0, or of a join 0 for left and 1 for right. Rows that are final now are given to emit, which
	// must copy what it keeps. An error is final: the operator cannot go on.
	Push(source int, m *Message, emit func(Row)) error
	// AppendState encodes all that it remembers; what is empty needs no restoring.
	AppendState(dst []byte) []byte
	// Restore takes what AppendState made. Called first, if at all. An error: the state is of another operator, or damaged.
	Restore(state []byte) error
}

// Paced is an Operator of two sources that remembers least when it chooses which to read.
type Paced interface {
	// Order returns the source to read first. The other one may be read where that has nothing at present, but only if both is true: else
	// it is so far ahead that nothing can come of its messages before the first has some. It depends on what was pushed alone.
	Order() (first int, both bool)
}

// Counted is an Operator that counts what it was given, over all its life.
type Counted interface{ Counts() Counts }

// Counts are numbers of messages.
type Counts struct {
	Scanned uint64 // that were pushed
	Matched uint64 // that are part of the rows, or may be
	Skipped uint64 // that do not decode, or have no time where one is needed
	Late    uint64 // that came when their windows were closed
}
