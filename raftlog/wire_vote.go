package raftlog

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/hashicorp/raft"
)

// Votes, TimeoutNow and InstallSnapshot on the wire, and what all answers have in common. These messages are rare: what
// is decoded from them is copied.
//
//	vote:        | term 8 | last index 8 | last term 8 | header | flags 1
//	pre-vote:    the same without flags
//	timeout now: | header
//	install:     | term 8 | last index 8 | last term 8 | header | snapshot version 4 | configuration index 8 | size 8 | configuration bytes
//	answer:      | error text | fields of its kind …
//	vote's:      | protocol version 4 | term 8 | granted 1
//	install's:   | protocol version 4 | term 8 | success 1
//
// Who answers is known from the connection, so an answer carries no id or address. InstallSnapshot's Peers are not sent:
// raft reads them only in snapshots of a version before ours.

func encodeVote(b []byte, r *raft.RequestVoteRequest) []byte {
	b = encodeCandidacy(begin(b, kindVote), r.Term, r.LastLogIndex, r.LastLogTerm, &r.RPCHeader)
	return append(b, boolByte(r.LeadershipTransfer))
}

func encodePreVote(b []byte, r *raft.RequestPreVoteRequest) []byte {
	return encodeCandidacy(begin(b, kindPreVote), r.Term, r.LastLogIndex, r.LastLogTerm, &r.RPCHeader)
}

func encodeCandidacy(b []byte, term, lastIndex, lastTerm uint64, h *raft.RPCHeader) []byte {
	b = binary.LittleEndian.AppendUint64(b, term)
	b = binary.LittleEndian.AppendUint64(b, lastIndex)
	b = binary.LittleEndian.AppendUint64(b, lastTerm)
	return encodeHeader(b, h)
}

func decodeVote(f *fields, r *raft.RequestVoteRequest) {
	r.Term, r.LastLogIndex, r.LastLogTerm = f.u64(), f.u64(), f.u64()
	r.RPCHeader = copyHeader(decodeHeader(f))
	r.LeadershipTransfer = f.u8() != 0
}

func decodePreVote(f *fields, r *raft.RequestPreVoteRequest) {
	r.Term, r.LastLogIndex, r.LastLogTerm = f.u64(), f.u64(), f.u64()
	r.RPCHeader = copyHeader(decodeHeader(f))
}

func encodeTimeoutNow(b []byte, r *raft.TimeoutNowRequest) []byte {
	return encodeHeader(begin(b, kindTimeoutNow), &r.RPCHeader)
}

func decodeTimeoutNow(f *fields, r *raft.TimeoutNowRequest) {
	r.RPCHeader = copyHeader(decodeHeader(f))
}

func encodeInstall(b []byte, r *raft.InstallSnapshotRequest) []byte {
	b = encodeCandidacy(begin(b, kindInstall), r.Term, r.LastLogIndex, r.LastLogTerm, &r.RPCHeader)
	b = binary.LittleEndian.AppendUint32(b, uint32(r.SnapshotVersion))
	b = binary.LittleEndian.AppendUint64(b, r.ConfigurationIndex)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Size))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(r.Configuration)))
	return append(b, r.Configuration...)
}

func decodeInstall(f *fields, r *raft.InstallSnapshotRequest) {
	r.Term, r.LastLogIndex, r.LastLogTerm = f.u64(), f.u64(), f.u64()
	r.RPCHeader = copyHeader(decodeHeader(f))
	r.SnapshotVersion = raft.SnapshotVersion(f.u32())
	r.ConfigurationIndex = f.u64()
	r.Size = int64(f.u64())
	r.Configuration = bytes.Clone(f.bytes())
	if r.Size < 0 {
		f.short = true
	}
}

// copyHeader frees h from the memory of the message that it came with.
func copyHeader(h raft.RPCHeader) raft.RPCHeader {
	h.ID, h.Addr = bytes.Clone(h.ID), bytes.Clone(h.Addr)
	return h
}

func boolByte(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// encodeAnswer makes the message that answers with what raft said. Where raft said only that it failed, the rest is zero.
func encodeAnswer(b []byte, k kind, said raft.RPCResponse) []byte {
	b = appendError(begin(b, k), said.Error)
	switch r := said.Response.(type) {
	case *raft.AppendEntriesResponse:
		return encodeAppended(b, r)
	case *raft.RequestVoteResponse:
		return encodeTermAnd(b, r.ProtocolVersion, r.Term, r.Granted)
	case *raft.RequestPreVoteResponse:
		return encodeTermAnd(b, r.ProtocolVersion, r.Term, r.Granted)
	case *raft.InstallSnapshotResponse:
		return encodeTermAnd(b, r.ProtocolVersion, r.Term, r.Success)
	}
	return b
}

func encodeTermAnd(b []byte, version raft.ProtocolVersion, term uint64, yes bool) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(version))
	b = binary.LittleEndian.AppendUint64(b, term)
	return append(b, boolByte(yes))
}

// decodeTermAnd reads what encodeTermAnd wrote.
func decodeTermAnd(f *fields, version *raft.ProtocolVersion, term *uint64, yes *bool) {
	*version, *term, *yes = raft.ProtocolVersion(f.u32()), f.u64(), f.u8() != 0
}

// remoteError is what the peer's raft answered. The connection it came by is as good as before.
type remoteError string

func (e remoteError) Error() string { return string(e) }

// decodeAnswer takes an answer apart that should be of the kind want. decode is not called if the peer's raft failed
// without saying more, nor if it may be nil.
func decodeAnswer(k, want kind, body []byte, decode func(*fields)) error {
	if k != want {
		return fmt.Errorf("%w: an answer of kind %d in place of %d", errMalformed, k, want)
	}
	f := fields{b: body}
	failed := string(f.text())
	if decode != nil && (failed == "" || len(f.b) > 0) {
		decode(&f)
	}
	if err := f.err(k); err != nil {
		return err
	}
	if failed != "" {
		return remoteError(failed)
	}
	return nil
}
