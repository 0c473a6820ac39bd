package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// A message names the operation that wrote it and fills up with bytes that follow from that name and the
// run's seed, so that whoever reads it can tell a message of this run from any other, and an altered one
// from what was sent:
//
//	000000000000002a 9f3c…        the id in hexadecimal, a blank, then letters up to the length

const nameBytes = 17

// appendValue appends the message of an operation.
func appendValue(b []byte, seed, id uint64) []byte {
	random := rand.New(rand.NewPCG(seed, id))
	size := valueBytesMin + random.IntN(valueBytesMax-valueBytesMin+1)
	b = fmt.Appendf(b, "%016x ", id)
	var word [8]byte
	for rest := size - nameBytes; rest > 0; rest -= len(word) {
		binary.LittleEndian.PutUint64(word[:], random.Uint64())
		for _, c := range word[:min(rest, len(word))] {
			b = append(b, 'a'+c%26)
		}
	}
	return b
}

var (
	errForeign = errors.New("nobody wrote this")
	errAltered = errors.New("not the bytes that were written")
)

// parseValue returns the id of a message, and an error if it is not what the operation wrote.
func parseValue(seed uint64, value []byte) (id uint64, err error) {
	if len(value) < nameBytes || value[nameBytes-1] != ' ' {
		return 0, fmt.Errorf("%w: %.40q", errForeign, value)
	}
	if id, err = strconv.ParseUint(string(value[:nameBytes-1]), 16, 64); err != nil {
		return 0, fmt.Errorf("%w: %.40q", errForeign, value)
	}
	if !bytes.Equal(value, appendValue(nil, seed, id)) {
		return id, fmt.Errorf("%w: operation %d: %.40q", errAltered, id, value)
	}
	return id, nil
}
