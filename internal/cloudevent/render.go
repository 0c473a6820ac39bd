package cloudevent

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"ayder/internal/jsonscan"
	"ayder/internal/record"
)

// Messages as JSON events.
//
// One that has the headers ce_specversion, ce_id, ce_source and ce_type is the event that they say. Any other message was never an event, and
// becomes one whose id is its place, whose source is its topic and whose type is MessageType. Data is a JSON value where the media type declares JSON
// and the bytes are that, a string where it declares text and the bytes are UTF-8, and else base64. A header that cannot be an attribute is left out.

// MessageType is the type of an event that was produced as a plain message.
const MessageType = "ayder.message"

// Place is where a message is.
type Place struct {
	Topic     string
	Partition uint32
	Offset    uint64
}

// Append appends the message m, which is at a place, as an event.
func Append(b []byte, m *record.Record, at Place, s *jsonscan.Scanner) []byte {
	media := find(m.Headers, contentType)
	b = append(b, `{"specversion":"1.0"`...)
	if isEvent(m.Headers) {
		b = appendAttributes(b, m.Headers)
	} else {
		b = appendPlace(b, m, at)
		media = guess(m.Value, media, s)
	}
	if media != nil && validText(media) && validMedia(media) {
		b = appendString(b, dataTypeName, media)
	} else {
		media = nil
	}
	return append(appendData(b, m.Value, media, s), '}')
}

// isEvent tells whether headers have all that an event must have.
func isEvent(headers []byte) bool {
	for _, name := range required {
		v := find(headers, headerPrefix+name)
		if len(v) == 0 || !validText(v) || name == required[0] && string(v) != version {
			return false
		}
	}
	return true
}

// find is the value of the first header of a name, in any case, because HTTP clients have their own.
func find(headers []byte, name string) []byte {
	for n, v, rest, ok := record.NextHeader(headers); ok; n, v, rest, ok = record.NextHeader(rest) {
		if len(n) == len(name) && bytes.EqualFold(n, []byte(name)) {
			return v
		}
	}
	return nil
}

// appendAttributes appends what the headers say, in their order. The version stands already.
func appendAttributes(b, headers []byte) []byte {
	var space [NameBytesMax]byte
	all := headers
	for n, v, rest, ok := record.NextHeader(headers); ok; n, v, rest, ok = record.NextHeader(rest) {
		if len(n) <= len(headerPrefix) || len(n) > len(headerPrefix)+NameBytesMax || !bytes.EqualFold(n[:len(headerPrefix)], []byte(headerPrefix)) {
			continue
		}
		name := space[:copy(space[:], n[len(headerPrefix):])]
		for i, c := range name {
			if c-'A' < 26 {
				name[i] = c | 0x20
			}
		}
		if !validName(name) || !validText(v) || string(name) == required[0] || string(name) == dataTypeName || isRepeated(all, n) {
			continue
		}
		b = appendString(b, string(name), v)
	}
	return b
}

// isRepeated tells whether a header has the name of one before it, which counts.
func isRepeated(headers, name []byte) bool {
	for n, _, rest, ok := record.NextHeader(headers); ok; n, _, rest, ok = record.NextHeader(rest) {
		if bytes.EqualFold(n, name) {
			return &n[0] != &name[0]
		}
	}
	return false
}

// appendPlace appends the attributes of a message that never was an event.
func appendPlace(b []byte, m *record.Record, at Place) []byte {
	b = append(append(b, `,"id":"`...), at.Topic...) // a topic's name needs no escapes, here and in a URI
	b = strconv.AppendUint(append(b, '/'), uint64(at.Partition), 10)
	b = strconv.AppendUint(append(b, '/'), at.Offset, 10)
	b = append(append(b, `","source":"/broker/topics/`...), at.Topic...)
	b = append(b, `","type":"`+MessageType+`"`...)
	if t := time.UnixMilli(int64(m.TimeMs)).UTC(); m.TimeMs < 1<<62 && t.Year() <= 9999 {
		b = t.AppendFormat(append(b, `,"time":"`...), "2006-01-02T15:04:05.000Z")
		b = append(b, '"')
	}
	if m.HasKey && validText(m.Key) {
		b = appendString(b, partitionKeyName, m.Key)
	}
	return b
}

// guess is the media type of a message that may have none.
func guess(v, media []byte, s *jsonscan.Scanner) []byte {
	switch {
	case media != nil && validMedia(media), len(v) == 0:
		return media
	case utf8.Valid(v) && s.Valid(v):
		return []byte("application/json")
	case utf8.Valid(v):
		return []byte("text/plain; charset=utf-8")
	}
	return []byte("application/octet-stream")
}

// appendData appends the event's data, nothing if there is none.
func appendData(b, v, media []byte, s *jsonscan.Scanner) []byte {
	switch {
	case len(v) == 0:
		return b
	case isJSONMedia(media) && utf8.Valid(v) && s.Valid(v):
		return jsonscan.AppendOnOneLine(append(b, `,"data":`...), v)
	case isTextMedia(media) && utf8.Valid(v):
		return appendString(b, dataName, v)
	}
	b = base64.StdEncoding.AppendEncode(append(b, `,"data_base64":"`...), v)
	return append(b, '"')
}

func appendString(b []byte, name string, v []byte) []byte {
	b = append(append(b, `,"`...), name...)
	return jsonscan.AppendString(append(b, `":`...), v)
}
