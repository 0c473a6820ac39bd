package main

import (
	"errors"
	"math/rand/v2"
	"strconv"
)

// Every message says who it is, and everything else in it follows from that: so millions of them
// can be compared byte by byte without being kept.
//
//	single   NNNNRRRRCCCCQQQQQQQQLLLL followed by random bytes
//	NDJSON  "NNNNRRRRCCCCQQQQQQQQLLLL followed by letters"      (a JSON string)
//
// in hexadecimal: a check of the seed, round, connection, request of the connection, line of the request.

// name identifies a message.
type name struct {
	round, conn uint16
	request     uint32
	line        uint16
}

const (
	nameBytes    = 24
	nameFieldMax = 1<<16 - 1
)

var errName = errors.New("not a message of this run")

// appendName appends the 24 digits.
func appendName(b []byte, seed uint64, n name) []byte {
	b = appendHex(b, seed&nameFieldMax, 4)
	b = appendHex(b, uint64(n.round), 4)
	b = appendHex(b, uint64(n.conn), 4)
	b = appendHex(b, uint64(n.request), 8)
	return appendHex(b, uint64(n.line), 4)
}

func appendHex(b []byte, v uint64, digits int) []byte {
	for shift := (digits - 1) * 4; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[v>>shift&15])
	}
	return b
}

// parseName reads the digits back from the start of a message.
func parseName(seed uint64, message []byte) (n name, err error) {
	if len(message) > 0 && message[0] == '"' {
		message = message[1:]
	}
	if len(message) < nameBytes {
		return n, errName
	}
	var fields [5]uint64
	at := 0
	for i, digits := range []int{4, 4, 4, 8, 4} {
		v, err := strconv.ParseUint(string(message[at:at+digits]), 16, 64)
		if err != nil {
			return n, errName
		}
		fields[i] = v
		at += digits
	}
	if fields[0] != seed&nameFieldMax {
		return n, errName
	}
	return name{round: uint16(fields[1]), conn: uint16(fields[2]), request: uint32(fields[3]), line: uint16(fields[4])}, nil
}

// appendPayload appends the message called n: JSON for a line of an NDJSON request, any bytes else.
func appendPayload(b []byte, seed uint64, n name, ndjson bool) []byte {
	r := rand.New(rand.NewPCG(seed, uint64(n.round)<<48|uint64(n.conn)<<32|uint64(n.request)^uint64(n.line)<<20))
	size := payloadSize(r, ndjson)
	if !ndjson {
		b = appendName(b, seed, n)
		return appendRandom(b, r, size)
	}
	b = append(b, '"')
	b = appendName(b, seed, n)
	for range size {
		b = append(b, 'a'+byte(r.Uint32()%26))
	}
	return append(b, '"')
}

func payloadSize(r *rand.Rand, ndjson bool) int {
	switch {
	case !ndjson && r.IntN(largeEvery) == 0:
		return r.IntN(largeBytes)
	case r.IntN(mediumEvery) == 0:
		return r.IntN(mediumBytes)
	}
	return r.IntN(smallBytes)
}

func appendRandom(b []byte, r *rand.Rand, size int) []byte {
	for ; size >= 8; size -= 8 {
		v := r.Uint64()
		b = append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
	}
	for range size {
		b = append(b, byte(r.Uint32()))
	}
	return b
}
