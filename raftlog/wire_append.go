package raftlog

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// AppendEntries on the wire. The request:
//
//	| term 8 | previous index 8 | its term 8 | commit index 8 | header | count 4 | entries …
//	entry:  | index 8 | term 8 | appended at 8 | type 1 | data 4 | extensions 4 | data … | extensions …
//	header: | protocol version 4 | id text | address text
//
// The fields of raft's messages that the header's address replaced (Leader, Candidate) do not travel: raft reads them only
// where that is empty. appended at is nanoseconds since 1970, 0 for none.
//
// A message with entries is decoded in place: three allocations, the two slices that raft wants and the request, no
// matter how many entries. The data of the entries are parts of the message's own memory, which is used for nothing else.

// isHeartbeat tells that a request only says who leads (raft makes no other like it).
func isHeartbeat(a *raft.AppendEntriesRequest) bool {
	return len(a.Entries) == 0 && a.PrevLogEntry == 0 && a.PrevLogTerm == 0 && a.LeaderCommitIndex == 0
}

func appendKind(a *raft.AppendEntriesRequest) kind {
	switch {
	case len(a.Entries) > 0:
		return kindAppend
	case isHeartbeat(a):
		return kindHeartbeat
	}
	return kindAnnounce
}

// trimEntries is the beginning of entries that fits into a message. Raft goes by what is left in the request when it
// learns the answer, so that the rest follows with the next one.
func trimEntries(entries []*raft.Log) ([]*raft.Log, error) {
	size := 0
	for i, l := range entries {
		size += len(l.Data) + len(l.Extensions)
		if i == 0 && size > appendBodyMax-smallBodyMax {
			return nil, fmt.Errorf("raftlog: entry %d has %d bytes, too many for a message", l.Index, size)
		}
		if i > 0 && size > appendBytesMax || i == entriesPerMessageMax {
			return entries[:i], nil
		}
	}
	return entries, nil
}

// encodeAppend makes the message of a; commit stands in for its commit index.
func encodeAppend(b []byte, a *raft.AppendEntriesRequest, commit uint64) []byte {
	b = begin(b, appendKind(a))
	b = binary.LittleEndian.AppendUint64(b, a.Term)
	b = binary.LittleEndian.AppendUint64(b, a.PrevLogEntry)
	b = binary.LittleEndian.AppendUint64(b, a.PrevLogTerm)
	b = binary.LittleEndian.AppendUint64(b, commit)
	b = encodeHeader(b, &a.RPCHeader)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(a.Entries)))
	for _, l := range a.Entries {
		b = encodeEntry(b, l)
	}
	return b
}

func encodeEntry(b []byte, l *raft.Log) []byte {
	b = binary.LittleEndian.AppendUint64(b, l.Index)
	b = binary.LittleEndian.AppendUint64(b, l.Term)
	b = binary.LittleEndian.AppendUint64(b, uint64(unixNano(l.AppendedAt)))
	b = append(b, byte(l.Type))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l.Data)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(l.Extensions)))
	b = append(b, l.Data...)
	return append(b, l.Extensions...)
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromUnixNano(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func encodeHeader(b []byte, h *raft.RPCHeader) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(h.ProtocolVersion))
	b = appendText(b, string(h.ID))
	return appendText(b, string(h.Addr))
}

// decodeHeader's id and address alias the body.
func decodeHeader(f *fields) raft.RPCHeader {
	return raft.RPCHeader{ProtocolVersion: raft.ProtocolVersion(f.u32()), ID: f.text(), Addr: f.text()}
}

// decodeAppend's entries and header alias the body.
func decodeAppend(f *fields, a *raft.AppendEntriesRequest) {
	a.Term = f.u64()
	a.PrevLogEntry = f.u64()
	a.PrevLogTerm = f.u64()
	a.LeaderCommitIndex = f.u64()
	a.RPCHeader = decodeHeader(f)
	if count := f.u32(); count > 0 {
		a.Entries = decodeEntries(f, count)
	}
}

func decodeEntries(f *fields, count uint32) []*raft.Log {
	if count > entriesPerMessageMax {
		f.short = true
		return nil
	}
	logs, entries := make([]raft.Log, count), make([]*raft.Log, count)
	for i := range logs {
		decodeEntry(f, &logs[i])
		entries[i] = &logs[i]
	}
	if f.short {
		return nil
	}
	return entries
}

func decodeEntry(f *fields, l *raft.Log) {
	l.Index = f.u64()
	l.Term = f.u64()
	l.AppendedAt = fromUnixNano(int64(f.u64()))
	l.Type = raft.LogType(f.u8())
	data, extensions := f.u32(), f.u32()
	if uint64(data)+uint64(extensions) > uint64(len(f.b)) {
		f.short = true
		return
	}
	l.Data = f.take(int(data))
	if extensions > 0 {
		l.Extensions = f.take(int(extensions))
	}
}

// Flags of an AppendEntries' answer.
const (
	flagSuccess        = 1 << 0
	flagNoRetryBackoff = 1 << 1
)

func encodeAppended(b []byte, r *raft.AppendEntriesResponse) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(r.ProtocolVersion))
	b = binary.LittleEndian.AppendUint64(b, r.Term)
	b = binary.LittleEndian.AppendUint64(b, r.LastLog)
	flags := byte(0)
	if r.Success {
		flags |= flagSuccess
	}
	if r.NoRetryBackoff {
		flags |= flagNoRetryBackoff
	}
	return append(b, flags)
}

func decodeAppended(f *fields, r *raft.AppendEntriesResponse) {
	r.ProtocolVersion = raft.ProtocolVersion(f.u32())
	r.Term = f.u64()
	r.LastLog = f.u64()
	flags := f.u8()
	r.Success = flags&flagSuccess != 0
	r.NoRetryBackoff = flags&flagNoRetryBackoff != 0
}
