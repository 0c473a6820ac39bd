package query

import (
	"errors"
	"slices"
	"strings"
)

// Message is a stored message. Its slices are valid during the call that it is given to.
type Message struct {
	Partition uint32
	Offset    uint64
	TimeMs    uint64 // the log's time, Unix milliseconds
	HasKey    bool
	Key       []byte
	Value     []byte
}

// ErrUndecodable means that a message's bytes are not what its format says. Such messages are counted and passed over.
var ErrUndecodable = errors.New("the message does not decode")

// Format makes decoders. Any goroutine may use it.
type Format interface {
	// NewDecoder returns a decoder that looks for these fields, in one pass where the format allows that.
	NewDecoder(paths []Path) Decoder
}

// Decoder finds fields in messages. One belongs to one goroutine.
type Decoder interface {
	// Decode sets dst[i] to what the i-th path leads to, Missing where it leads nowhere. The whole message is checked, also where
	// no path leads. dst has a place for each path; what is put there is valid as long as b is not changed, and until the next call.
	// The error wraps ErrUndecodable and says why.
	Decode(b []byte, dst []Value) error
	// AppendJSON appends the whole message that Decode was given last, and took, as JSON.
	AppendJSON(dst []byte) []byte
}

// Path leads to a field: member names from the outside in. A name of digits also leads into arrays.
type Path []string

// ParsePath reads names that are joined by dots; a backslash before a dot or backslash makes that part of a name.
// The error says what is wrong with it.
func ParsePath(s string) (Path, error) {
	var p Path
	var name strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s) && (s[i+1] == '.' || s[i+1] == '\\'):
			i++
			name.WriteByte(s[i])
		case s[i] == '.':
			p = append(p, name.String())
			name.Reset()
		default:
			name.WriteByte(s[i])
		}
	}
	p = append(p, name.String())
	if len(p) > pathNamesMax || slices.Contains(p, "") {
		return nil, errors.New("a field is one to 32 names joined by dots")
	}
	return p, nil
}

// Row is a line of output.
type Row struct {
	Key    []byte // what the row is about: message key of what a pipeline writes
	TimeMs uint64 // event time
	JSON   []byte // one object
}
