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
