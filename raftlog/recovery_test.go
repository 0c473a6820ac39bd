package raftlog

import (
	"slices"
	"testing"

	"github.com/hashicorp/raft"

	"ayder/internal/record"
)

// Only what a later frame calls committed is passed on; configurations on the way are noted.
func TestRecoveryHoldsBackTheEnd(t *testing.T) {
	var got []uint64
	r := NewRecovery(3, func(f record.Frame) error { got = append(got, f.Index); return nil })
	config := append([]byte{byte(raft.LogConfiguration)}, raft.EncodeConfiguration(raft.Configuration{})...)
	for _, f := range []record.Frame{
		{Header: record.Header{Index: 4, Staged: 2, Kind: record.KindBatch}},
		{Header: record.Header{Index: 5, Staged: 3, Kind: record.KindRaft}, Payload: config},
		{Header: record.Header{Index: 6, Staged: 5, Kind: record.KindBatch}},
		{Header: record.Header{Index: 7, Staged: 5, Kind: record.KindBatch}},
		{Header: record.Header{Index: 8, Staged: 99, Kind: record.KindBatch}}, // a frame does not vouch for itself
	} {
		if err := r.Frame(f); err != nil {
			t.Fatal(err)
		}
	}
	if want := []uint64{4, 5, 6, 7}; !slices.Equal(got, want) || r.Applied() != 7 {
		t.Fatal(got, r.Applied())
	}
	if len(r.configs) != 1 || r.configs[0].index != 5 {
		t.Fatal(r.configs)
	}
}

// The frame that Open shows is valid during the call only.
func TestRecoveryCopiesWhatItHolds(t *testing.T) {
	var got []string
	r := NewRecovery(0, func(f record.Frame) error { got = append(got, string(f.Payload)); return nil })
	buf := []byte("first")
	_ = r.Frame(record.Frame{Header: record.Header{Index: 1, Kind: record.KindBatch}, Payload: buf})
	copy(buf, "xxxxx")
	_ = r.Frame(record.Frame{Header: record.Header{Index: 2, Staged: 1, Kind: record.KindBatch}, Payload: buf})
	if !slices.Equal(got, []string{"first"}) {
		t.Fatal(got)
	}
}
