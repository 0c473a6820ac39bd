package timing

// The Server-Timing field (W3C Server Timing) is part of every answer, so rendering it is on the
// hot path. A time is written as fixed-point milliseconds with three digits, which is whole
// microseconds with a point in it: no floating point, and the last three digits come out of one
// table.

import "strconv"

// Skip is the time of a stage that a request never went through: it is left out of the field.
const Skip int64 = -1

// threeDigits holds "000" "001" … "999" one after the other.
var threeDigits = func() (table [3000]byte) {
	for i := range 1000 {
		table[i*3], table[i*3+1], table[i*3+2] = byte('0'+i/100), byte('0'+i/10%10), byte('0'+i%10)
	}
	return table
}()

// AppendServerTiming appends the header field, without the line's end:
//
//	Server-Timing: recv_parse;dur=0.012, queue;dur=0.001, commit;dur=0.412, server;dur=0.020
//
// The times are nanoseconds. Commit may be Skip, then it is left out; any other negative time
// counts as 0. It allocates nothing when dst has ServerTimingBytesMax of room.
func AppendServerTiming(dst []byte, recvParseNs, queueNs, commitNs, serverNs int64) []byte {
	dst = append(dst, "Server-Timing: recv_parse;dur="...)
	dst = appendMillis(dst, recvParseNs)
	dst = append(dst, ", queue;dur="...)
	dst = appendMillis(dst, queueNs)
	if commitNs != Skip {
		dst = append(dst, ", commit;dur="...)
		dst = appendMillis(dst, commitNs)
	}
	dst = append(dst, ", server;dur="...)
	return appendMillis(dst, serverNs)
}

// ServerTimingBytesMax is the longest field that AppendServerTiming can produce: its words, and
// four times of up to 13 digits, a point and three digits (an int64 of nanoseconds in
// milliseconds).
const ServerTimingBytesMax = len("Server-Timing: recv_parse;dur=, queue;dur=, commit;dur=, server;dur=") + 4*17

// appendMillis appends ns as milliseconds with exactly three decimals, rounded to the nearest
// microsecond.
func appendMillis(dst []byte, ns int64) []byte {
	us := (uint64(max(ns, 0)) + 500) / 1000
	ms, frac := us/1000, us%1000*3
	if ms < 10 {
		return append(dst, byte('0'+ms), '.', threeDigits[frac], threeDigits[frac+1], threeDigits[frac+2])
	}
	dst = strconv.AppendUint(dst, ms, 10)
	return append(dst, '.', threeDigits[frac], threeDigits[frac+1], threeDigits[frac+2])
}
