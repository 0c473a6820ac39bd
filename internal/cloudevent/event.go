package cloudevent

import (
	"fmt"

	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// Reading, whatever the mode: attributes are gathered as names and canonical strings, each checked as it comes, data in whichever of three shapes it
// has. When all is there it is seen whether what is required is among it, and the whole becomes a message: headers are encoded once, into the
// Reader's memory, from which they are copied into a batch of the log.

// Event is an event that was read, as a message. Its slices alias what it was read from, or the Reader's memory.
type Event struct {
	Value   []byte // data
	Headers []byte // as a record has them
	Source  []byte
	ID      []byte
	Key     []byte // the attribute partitionkey
	HasKey  bool
	TimeMs  uint64 // the attribute time
	HasTime bool   // there is one that milliseconds since 1970 can express
}

// Limits of an event.
const (
	AttributesMax    = 64 // attributes of one event
	NameBytesMax     = 64 // an attribute's name
	contentType      = "content-type"
	headerPrefix     = "ce_"
	version          = "1.0"
	dataName         = "data"
	dataBase64Name   = "data_base64"
	dataTypeName     = "datacontenttype"
	partitionKeyName = "partitionkey"
)

// Error says what is wrong with an event.
type Error struct {
	Attribute string // empty: the event as a whole
	Index     int    // the event's in a batch, -1: it is no batch
	Message   string
}

func (e *Error) Error() string {
	text := e.Message
	if e.Attribute != "" {
		text = e.Attribute + ": " + text
	}
	if e.Index >= 0 {
		text = fmt.Sprintf("event %d: %s", e.Index, text)
	}
	return text
}

func wrong(attribute []byte, format string, args ...any) *Error {
	return &Error{Attribute: string(attribute), Index: -1, Message: fmt.Sprintf(format, args...)}
}

// Reader reads events. What it returned is valid until Reset. It belongs to one goroutine; the zero value is ready.
type Reader struct {
	scanner    jsonscan.Scanner
	memory     []byte // decoded texts and encoded headers
	attributes []attribute
	data       data
}

// attribute is one that was read, with its canonical string.
type attribute struct{ name, value []byte }

// data is what was found of an event's data.
type data struct {
	json   []byte // the member data as it stands
	base64 []byte // the decoded member data_base64
	bytes  []byte // a body
}

// Reset makes the Reader's memory free for other events.
func (r *Reader) Reset() { r.memory = r.memory[:0] }

// begin forgets the event before.
func (r *Reader) begin() { r.attributes, r.data = r.attributes[:0], data{} }

// add notes an attribute, checked by itself.
func (r *Reader) add(name, value []byte) *Error {
	switch {
	case len(r.attributes) == AttributesMax:
		return wrong(name, "more than %d attributes", AttributesMax)
	case r.find(name) != nil:
		return wrong(name, "the attribute occurs twice")
	}
	if err := check(name, value); err != nil {
		return err
	}
	r.attributes = append(r.attributes, attribute{name, value})
	return nil
}

// find is the value of an attribute, nil if there is none.
func (r *Reader) find(name []byte) []byte {
	for i := range r.attributes {
		if string(r.attributes[i].name) == string(name) {
			return r.attributes[i].value
		}
	}
	return nil
}

var required = []string{"specversion", "id", "source", "type"}

// end makes an event of what was read.
func (r *Reader) end() (e Event, err *Error) {
	for _, name := range required {
		if r.find([]byte(name)) == nil {
			return e, wrong([]byte(name), "the attribute is required")
		}
	}
	media := r.find([]byte(dataTypeName))
	if e.Value, media, err = r.value(media); err != nil {
		return e, err
	}
	e.ID, e.Source = r.find([]byte("id")), r.find([]byte("source"))
	if e.Key = r.find([]byte(partitionKeyName)); e.Key != nil {
		e.HasKey = true
	}
	if text := r.find([]byte("time")); text != nil {
		t, _ := parseTime(text)
		if ms := t.UnixMilli(); ms >= 0 {
			e.TimeMs, e.HasTime = uint64(ms), true
		}
	}
	e.Headers = r.headers(media)
	return e, nil
}

// headers encodes the attributes as a record's headers.
func (r *Reader) headers(media []byte) []byte {
	from := len(r.memory)
	if media != nil {
		r.memory = record.AppendHeader(r.memory, []byte(contentType), media)
	}
	var name [len(headerPrefix) + NameBytesMax]byte
	for _, a := range r.attributes {
		if string(a.name) != dataTypeName {
			r.memory = record.AppendHeader(r.memory, append(append(name[:0], headerPrefix...), a.name...), a.value)
		}
	}
	return r.memory[from:len(r.memory):len(r.memory)]
}
