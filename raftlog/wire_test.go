package raftlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/hashicorp/raft"
)

// bytesConn is a connection on which everything has arrived already.
type bytesConn struct {
	net.Conn
	r *bytes.Reader
	w bytes.Buffer
}

func (c *bytesConn) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *bytesConn) Write(p []byte) (int, error)      { return c.w.Write(p) }
func (c *bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (c *bytesConn) SetWriteDeadline(time.Time) error { return nil }

// arrived is a wire that brings b and then ends.
func arrived(b []byte) *wire { return newWire(&bytesConn{r: bytes.NewReader(b)}) }

// opened is the body of a message.
func opened(t testing.TB, message []byte) (kind, *fields) {
	t.Helper()
	k, body, err := arrived(seal(message)).receive(anyBody)
	if err != nil {
		t.Fatal(err)
	}
	return k, &fields{b: body}
}

var testHeader = raft.RPCHeader{ProtocolVersion: 3, ID: []byte("node-1"), Addr: []byte("[::1]:7001")}

// appendRequests are AppendEntries of each kind.
func appendRequests() map[kind]*raft.AppendEntriesRequest {
	full := &raft.AppendEntriesRequest{
		RPCHeader: testHeader, Term: 1 << 60, PrevLogEntry: 2, PrevLogTerm: 3, LeaderCommitIndex: 4,
		Entries: []*raft.Log{
			{Index: 3, Term: 3, Type: raft.LogCommand, Data: bytes.Repeat([]byte{7}, 100_000), AppendedAt: time.Unix(1, 2)},
			{Index: 4, Term: 1 << 60, Type: raft.LogNoop},
			{Index: 5, Term: 1 << 60, Type: raft.LogConfiguration, Data: []byte("d"), Extensions: []byte("ext")},
		},
	}
	return map[kind]*raft.AppendEntriesRequest{
		kindAppend:    full,
		kindAnnounce:  {RPCHeader: testHeader, Term: 5, PrevLogEntry: 2, PrevLogTerm: 3, LeaderCommitIndex: 4},
		kindHeartbeat: {RPCHeader: testHeader, Term: 5},
	}
}

func TestAppendRoundTrip(t *testing.T) {
	for want, request := range appendRequests() {
		k, f := opened(t, encodeAppend(nil, request, request.LeaderCommitIndex))
		got := new(raft.AppendEntriesRequest)
		decodeAppend(f, got)
		for _, l := range got.Entries {
			if l.Data != nil && len(l.Data) == 0 {
				l.Data = nil
			}
		}
		if k != want || f.err(k) != nil || len(f.b) != 0 || !reflect.DeepEqual(got, request) {
			t.Errorf("kind %d: got kind %d, %v, %d bytes left\n%+v\nexpected\n%+v", want, k, f.err(k), len(f.b), got, request)
		}
	}
}

// TestCommitIndexIsAnArgument: the caller decides what is said of the commit index.
func TestCommitIndexIsAnArgument(t *testing.T) {
	_, f := opened(t, encodeAppend(nil, appendRequests()[kindAnnounce], 2))
	got := new(raft.AppendEntriesRequest)
	decodeAppend(f, got)
	if got.LeaderCommitIndex != 2 {
		t.Errorf("got %d", got.LeaderCommitIndex)
	}
}

// rare are messages other than AppendEntries, with what decodes them.
func rare() []struct {
	message []byte
	want    any
	decode  func(k kind, f *fields) (any, error)
} {
	vote := &raft.RequestVoteRequest{RPCHeader: testHeader, Term: 1, LastLogIndex: 2, LastLogTerm: 3, LeadershipTransfer: true}
	preVote := &raft.RequestPreVoteRequest{RPCHeader: testHeader, Term: 1, LastLogIndex: 2, LastLogTerm: 3}
	timeoutNow := &raft.TimeoutNowRequest{RPCHeader: testHeader}
	install := &raft.InstallSnapshotRequest{
		RPCHeader: testHeader, SnapshotVersion: 1, Term: 1, LastLogIndex: 2, LastLogTerm: 3,
		Configuration: []byte("members"), ConfigurationIndex: 4, Size: 1 << 40,
	}
	appended := &raft.AppendEntriesResponse{Term: 1, LastLog: 2, Success: true, NoRetryBackoff: true}
	voted := &raft.RequestVoteResponse{Term: 1, Granted: true}
	return []struct {
		message []byte
		want    any
		decode  func(k kind, f *fields) (any, error)
	}{
		{encodeVote(nil, vote), vote, func(k kind, f *fields) (any, error) {
			r := new(raft.RequestVoteRequest)
			decodeVote(f, r)
			return r, f.err(k)
		}},
		{encodePreVote(nil, preVote), preVote, func(k kind, f *fields) (any, error) {
			r := new(raft.RequestPreVoteRequest)
			decodePreVote(f, r)
			return r, f.err(k)
		}},
		{encodeTimeoutNow(nil, timeoutNow), timeoutNow, func(k kind, f *fields) (any, error) {
			r := new(raft.TimeoutNowRequest)
			decodeTimeoutNow(f, r)
			return r, f.err(k)
		}},
		{encodeInstall(nil, install), install, func(k kind, f *fields) (any, error) {
			r := new(raft.InstallSnapshotRequest)
			decodeInstall(f, r)
			return r, f.err(k)
		}},
		{encodeAnswer(nil, kindAppended, raft.RPCResponse{Response: appended}), appended, func(k kind, f *fields) (any, error) {
			r := new(raft.AppendEntriesResponse)
			err := decodeAnswer(k, kindAppended, f.b, func(f *fields) { decodeAppended(f, r) })
			return r, err
		}},
		{encodeAnswer(nil, kindVoted, raft.RPCResponse{Response: voted}), voted, func(k kind, f *fields) (any, error) {
			r := new(raft.RequestVoteResponse)
			err := decodeAnswer(k, kindVoted, f.b, func(f *fields) { decodeTermAnd(f, &r.ProtocolVersion, &r.Term, &r.Granted) })
			return r, err
		}},
		{encodeHello(nil, &testHello), &testHello, func(_ kind, f *fields) (any, error) {
			h, err := decodeHello(f.b)
			return &h, err
		}},
	}
}

func TestRareRoundTrips(t *testing.T) {
	for _, c := range rare() {
		k, f := opened(t, c.message)
		got, err := c.decode(k, f)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("kind %d: %v, got\n%+v\nexpected\n%+v", k, err, got, c.want)
		}
	}
}

// TestMoreAtTheEnd: a newer minor version says more, and an older one reads what it knows.
func TestMoreAtTheEnd(t *testing.T) {
	for _, c := range rare() {
		k, f := opened(t, append(c.message, "something new"...))
		got, err := c.decode(k, f)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("kind %d: %v, got\n%+v\nexpected\n%+v", k, err, got, c.want)
		}
	}
	_, f := opened(t, append(encodeAppend(nil, appendRequests()[kindAppend], 4), "something new"...))
	got := new(raft.AppendEntriesRequest)
	decodeAppend(f, got)
	if f.short || len(got.Entries) != 3 {
		t.Errorf("%d entries, short %v", len(got.Entries), f.short)
	}
}

// TestLessAtTheEnd: no proper beginning of a body is a body.
func TestLessAtTheEnd(t *testing.T) {
	for _, c := range rare() {
		k, f := opened(t, c.message)
		for n := range f.b {
			if got, err := c.decode(k, &fields{b: f.b[:n]}); !errors.Is(err, errMalformed) {
				t.Errorf("kind %d, %d of %d bytes: %v, %+v", k, n, len(f.b), err, got)
			}
		}
	}
	request := appendRequests()[kindAppend]
	request.Entries[0].Data = request.Entries[0].Data[:50]
	k, f := opened(t, encodeAppend(nil, request, 4))
	for n := range f.b {
		g, got := &fields{b: f.b[:n]}, new(raft.AppendEntriesRequest)
		decodeAppend(g, got)
		if !errors.Is(g.err(k), errMalformed) || got.Entries != nil {
			t.Errorf("%d of %d bytes: %+v", n, len(f.b), got)
		}
	}
}

// TestAnswersWithErrors: raft's error and raft's answer may come together.
func TestAnswersWithErrors(t *testing.T) {
	long := errors.New(strings.Repeat("x", 2*textBytesMax))
	for _, c := range []struct {
		said raft.RPCResponse
		want string
		term uint64
	}{
		{raft.RPCResponse{Error: errors.New("no")}, "no", 0},
		{raft.RPCResponse{Response: &raft.RequestVoteResponse{Term: 9}, Error: errors.New("no")}, "no", 9},
		{raft.RPCResponse{Error: long}, long.Error()[:textBytesMax], 0},
	} {
		k, f := opened(t, encodeAnswer(nil, kindVoted, c.said))
		var r raft.RequestVoteResponse
		err := decodeAnswer(k, kindVoted, f.b, func(f *fields) { decodeTermAnd(f, &r.ProtocolVersion, &r.Term, &r.Granted) })
		var remote remoteError
		if !errors.As(err, &remote) || string(remote) != c.want || r.Term != c.term {
			t.Errorf("got %v, term %d, expected %q, %d", err, r.Term, c.want, c.term)
		}
	}
	if err := decodeAnswer(kindVoted, kindAppended, nil, nil); !errors.Is(err, errMalformed) {
		t.Errorf("the answer to something else: %v", err)
	}
}

// TestNoMessage: what is not a message is told from one before memory is taken for it.
func TestNoMessage(t *testing.T) {
	good := seal(encodeVote(nil, &raft.RequestVoteRequest{RPCHeader: testHeader}))
	changed := func(at int, to byte) []byte {
		b := bytes.Clone(good)
		b[at] = to
		return b
	}
	sized := func(k kind, length int) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, uint32(length)), 0, 0, 0, 0, byte(k))
	}
	for name, b := range map[string][]byte{
		"length 0":               changed(0, 0),
		"crc":                    changed(5, good[5]+1),
		"kind":                   changed(8, byte(kindPreVote)),
		"body":                   changed(len(good)-1, 9),
		"unknown kind":           changed(8, 200),
		"no kind":                changed(8, 0),
		"vote too long":          sized(kindVote, smallBodyMax+2),
		"hello too long":         sized(kindHello, smallBodyMax+2),
		"chunk too long":         sized(kindChunk, chunkBytes+2),
		"install too long":       sized(kindInstall, installBodyMax+2),
		"AppendEntries too long": sized(kindAppend, appendBodyMax+2),
		"4 GiB":                  sized(kindAppend, 1<<32-1),
		"HTTP":                   []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
		"TLS":                    {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3},
	} {
		w := arrived(b)
		if k, _, err := w.receive(anyBody); !errors.Is(err, errMalformed) {
			t.Errorf("%s: kind %d, %v", name, k, err)
		}
		if cap(w.in) > smallBodyMax {
			t.Errorf("%s: %d bytes of memory", name, cap(w.in))
		}
	}
	if _, _, err := arrived(good).receive(len(good) - wireHeadBytes - 1); !errors.Is(err, errMalformed) {
		t.Errorf("longer than the receiver wants: %v", err)
	}
	for n := range good {
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if _, _, err := arrived(good[:n]).receive(anyBody); !errors.Is(err, want) || (n > 0) == errors.Is(err, io.EOF) {
			t.Errorf("%d of %d bytes: %v", n, len(good), err)
		}
	}
}

// TestCountOfEntries: a count that lies takes no memory.
func TestCountOfEntries(t *testing.T) {
	request := &raft.AppendEntriesRequest{RPCHeader: testHeader}
	b := encodeAppend(nil, request, 0)
	for _, count := range []uint32{1, entriesPerMessageMax, entriesPerMessageMax + 1, 1<<32 - 1} {
		binary.LittleEndian.PutUint32(b[len(b)-4:], count)
		f, got := fields{b: b[wireHeadBytes:]}, new(raft.AppendEntriesRequest)
		decodeAppend(&f, got)
		if !f.short || got.Entries != nil {
			t.Errorf("count %d of entries that are not there: %d entries", count, len(got.Entries))
		}
	}
	for _, sizes := range [][2]uint32{{1 << 31, 1 << 31}, {1<<32 - 1, 1}, {0, 1<<32 - 1}} {
		entry := encodeEntry(nil, &raft.Log{Data: []byte("x")})
		binary.LittleEndian.PutUint32(entry[25:], sizes[0])
		binary.LittleEndian.PutUint32(entry[29:], sizes[1])
		f := fields{b: entry}
		if decodeEntry(&f, new(raft.Log)); !f.short {
			t.Errorf("sizes %v of an entry of %d bytes", sizes, len(entry))
		}
	}
}

// TestTooLongToSend is a bug of ours.
func TestTooLongToSend(t *testing.T) {
	defer func() {
		if s := fmt.Sprint(recover()); !strings.HasPrefix(s, "bug:") {
			t.Errorf("got %s", s)
		}
	}()
	seal(append(begin(nil, kindVote), make([]byte, smallBodyMax+1)...))
}

// TestEntriesLieInTheMessage: an entry costs no memory of its own, and what one message brought is not touched by the next.
func TestEntriesLieInTheMessage(t *testing.T) {
	first, second := entries(1, 2), entries(3, 2)
	b := seal(encodeAppend(nil, &raft.AppendEntriesRequest{Entries: first}, 0))
	b = append(b, seal(encodeAppend(nil, &raft.AppendEntriesRequest{Entries: second}, 0))...)
	w := arrived(b)
	var got []*raft.Log
	for range 2 {
		_, body, err := w.receive(anyBody)
		if err != nil {
			t.Fatal(err)
		}
		a := new(raft.AppendEntriesRequest)
		decodeAppend(&fields{b: body}, a)
		for _, l := range a.Entries {
			if at := uintptr(unsafe.Pointer(&l.Data[0])) - uintptr(unsafe.Pointer(&body[0])); at >= uintptr(len(body)) {
				t.Errorf("entry %d lies elsewhere", l.Index)
			}
			if cap(l.Data) != len(l.Data) {
				t.Errorf("entry %d: appending to its data would overwrite the next", l.Index)
			}
		}
		got = append(got, a.Entries...)
	}
	if want := append(first, second...); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, expected %v", got, want)
	}
}

// TestAllocations: nothing per entry when receiving, nothing at all when sending.
func TestAllocations(t *testing.T) {
	decode := func(count int) float64 {
		message := seal(encodeAppend(nil, &raft.AppendEntriesRequest{RPCHeader: testHeader, Entries: entries(1, count)}, 0))
		conn := &bytesConn{r: bytes.NewReader(nil)}
		w := newWire(conn)
		var a raft.AppendEntriesRequest
		return testing.AllocsPerRun(100, func() {
			conn.r.Reset(message)
			w.r.Reset(conn)
			_, body, err := w.receive(anyBody)
			if err != nil {
				t.Fatal(err)
			}
			decodeAppend(&fields{b: body}, &a)
		})
	}
	if one, many := decode(1), decode(entriesPerMessageMax); one != many || many > 4 {
		t.Errorf("%v allocations for an entry, %v for %d", one, many, entriesPerMessageMax)
	}
	request := &raft.AppendEntriesRequest{RPCHeader: testHeader, Entries: entries(1, entriesPerMessageMax)}
	var b []byte
	if n := testing.AllocsPerRun(100, func() { b = seal(encodeAppend(b, request, 0)) }); n != 0 {
		t.Errorf("%v allocations to encode", n)
	}
	if n := testing.AllocsPerRun(100, func() {
		b = seal(encodeAnswer(b, kindAppended, raft.RPCResponse{Response: &testAppended}))
	}); n != 0 {
		t.Errorf("%v allocations to answer", n)
	}
}

var testAppended = raft.AppendEntriesResponse{Term: 1, Success: true}

func TestTrimEntries(t *testing.T) {
	sized := func(sizes ...int) []*raft.Log {
		var list []*raft.Log
		for i, size := range sizes {
			list = append(list, &raft.Log{Index: uint64(i + 1), Data: make([]byte, size)})
		}
		return list
	}
	for _, c := range []struct {
		entries []*raft.Log
		want    int
	}{
		{nil, 0},
		{entries(1, entriesPerMessageMax), entriesPerMessageMax},
		{entries(1, entriesPerMessageMax+1), entriesPerMessageMax},
		{sized(appendBytesMax/2, appendBytesMax/2, 1), 2},
		{sized(appendBytesMax, 0, 1), 2},
		{sized(2*appendBytesMax, 1), 1},
		{sized(1, 2*appendBytesMax), 1},
		{sized(1<<20, 1<<20, 1<<20, 1<<20, 1<<20), 4},
	} {
		got, err := trimEntries(c.entries)
		if err != nil || len(got) != c.want {
			t.Errorf("%d entries: got %d, %v, expected %d", len(c.entries), len(got), err, c.want)
		}
	}
	if _, err := trimEntries([]*raft.Log{{Extensions: make([]byte, appendBodyMax)}}); err == nil {
		t.Error("an entry that no message can hold")
	}
}

// TestBuffersAreKeptWithinReason: a message of the usual largest size reuses its buffer, a monster's is given up.
func TestBuffersAreKeptWithinReason(t *testing.T) {
	full := []*raft.Log{{Data: make([]byte, appendBytesMax)}}
	b := kept(seal(encodeAppend(make([]byte, 0, appendBytesMax+1<<10), &raft.AppendEntriesRequest{Entries: full}, 0)))
	if cap(b) == 0 || len(b) != 0 {
		t.Error("a usual buffer was given up")
	}
	if kept(make([]byte, encodeBytesKept+1)) != nil {
		t.Error("a monster was kept")
	}
}

// FuzzReceive feeds bytes from outside to everything that decodes them. What decodes as an AppendEntries must survive
// being sent on.
func FuzzReceive(f *testing.F) {
	for _, request := range appendRequests() {
		for _, l := range request.Entries {
			l.Data = l.Data[:min(len(l.Data), 20)]
		}
		f.Add(seal(encodeAppend(nil, request, 1)))
	}
	for _, c := range rare() {
		f.Add(seal(c.message))
	}
	f.Add(seal(append(begin(nil, kindChunk), "bytes"...)))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := arrived(resealed(b))
		for {
			k, body, err := w.receive(1 << 20)
			if err != nil {
				return
			}
			decodeAnything(t, k, body)
		}
	})
}

// resealed gives b, if it looks like one message, the crc that it should have: else nothing gets past the crc.
func resealed(b []byte) []byte {
	if len(b) < wireHeadBytes || len(b)-wireHeadBytes > bodyMax(kind(b[wireCovered])) || b[0]&1 != 0 {
		return b
	}
	return seal(bytes.Clone(b))
}

func decodeAnything(t *testing.T, k kind, body []byte) {
	for _, decode := range []func(f *fields){
		func(f *fields) { decodeVote(f, new(raft.RequestVoteRequest)) },
		func(f *fields) { decodePreVote(f, new(raft.RequestPreVoteRequest)) },
		func(f *fields) { decodeTimeoutNow(f, new(raft.TimeoutNowRequest)) },
		func(f *fields) { decodeInstall(f, new(raft.InstallSnapshotRequest)) },
		func(f *fields) { _, _ = decodeHello(f.b) },
		func(f *fields) {
			_ = decodeAnswer(k, k, f.b, func(f *fields) { decodeAppended(f, new(raft.AppendEntriesResponse)) })
		},
	} {
		decode(&fields{b: body})
	}
	f, a := fields{b: body}, new(raft.AppendEntriesRequest)
	decodeAppend(&f, a)
	if f.short {
		return
	}
	_, g := opened(t, encodeAppend(nil, a, a.LeaderCommitIndex))
	again := new(raft.AppendEntriesRequest)
	decodeAppend(g, again)
	if g.short || !reflect.DeepEqual(a, again) {
		t.Errorf("sent on: %+v became %+v", a, again)
	}
}

// TestRandomBytes is the fuzz target's idea in a plain run.
func TestRandomBytes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	message := seal(encodeAppend(nil, &raft.AppendEntriesRequest{RPCHeader: testHeader, Entries: entries(1, 5)}, 0))
	for range 20_000 {
		b := bytes.Clone(message)
		for range 1 + rng.IntN(3) {
			b[wireCovered+rng.IntN(len(b)-wireCovered)] = byte(rng.Uint32())
		}
		if bodyMax(kind(b[wireCovered])) < len(b)-wireHeadBytes {
			continue
		}
		k, f := opened(t, b)
		decodeAnything(t, k, f.b)
	}
}
