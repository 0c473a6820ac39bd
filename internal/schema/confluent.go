package schema

// What Confluent's serializers put before a message:
//
//	0      1                5
//	| zero | schema id (BE) | Avro binary
//	| zero | schema id (BE) | message indexes | Protobuf binary
//
// The message indexes lead to a message type in the schema's file: how many they are, then the index of a message in the file, of one
// nested in that, and so on, all as zigzag varints. A single zero stands for the first message of the file.

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"ayder/internal/query"
)

// undecodable is an error that says why.
func undecodable(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{query.ErrUndecodable}, args...)...)
}

// confluentID takes the header off.
func confluentID(b []byte) (id uint32, rest []byte, err error) {
	if len(b) < confluentHeadBytes || b[0] != 0 {
		return 0, nil, undecodable("no schema id in front")
	}
	return binary.BigEndian.Uint32(b[1:]), b[confluentHeadBytes:], nil
}

func decodeBase64(s string) ([]byte, error) {
	if base64.StdEncoding.DecodedLen(len(s)) > textBytesMax {
		return nil, fmt.Errorf("over %d bytes", textBytesMax)
	}
	return base64.StdEncoding.DecodeString(s)
}
