package raftlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/hashicorp/raft"
)

// shelf serves files by name, as the Bulk of a node.
type shelf struct {
	files  map[string][]byte
	asked  []string
	closed atomic.Int32
	mu     sync.Mutex
	wrap   func(r io.Reader) io.Reader // nil: as they are
}

type shelved struct {
	io.Reader
	s *shelf
}

func (f shelved) Close() error {
	f.s.closed.Add(1)
	return nil
}

func (s *shelf) open(peer hello, name string, offset int64) (io.ReadCloser, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, fmt.Sprintf("%s: %s from %d", peer.NodeID, name, offset))
	b, ok := s.files[name]
	if !ok {
		return nil, 0, fmt.Errorf("no %s here", name)
	}
	var r io.Reader = bytes.NewReader(b[min(offset, int64(len(b))):])
	if s.wrap != nil {
		r = s.wrap(r)
	}
	return shelved{r, s}, int64(len(b)), nil
}

// onShelf runs a test with a node a that pulls and a node b that serves.
func onShelf(t *testing.T, fn func(t *testing.T, s *shelf, a, b *wireNode)) {
	t.Helper()
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		s := &shelf{files: map[string][]byte{"empty": nil, "small": []byte("small"), "large": make([]byte, 8*chunkBytes+17)}}
		for i := range s.files["large"] {
			s.files["large"][i] = byte(i * 7 / 5)
		}
		nodes[1].restart(func(o *transportOptions) { o.Bulk = s.open })
		fn(t, s, nodes[0], nodes[1])
	})
}

func (n *wireNode) pulls(name string, offset int64) ([]byte, int64, error) {
	r, size, err := n.pull(context.Background(), "b:1", name, offset)
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(r)
	return b, size, errors.Join(err, r.Close(), r.Close())
}

func TestPull(t *testing.T) {
	onShelf(t, func(t *testing.T, s *shelf, a, b *wireNode) {
		for name, whole := range s.files {
			for _, offset := range []int{0, 1, chunkBytes, len(whole) - 1, len(whole)} {
				if offset < 0 || offset > len(whole) {
					continue
				}
				s.asked = nil
				got, size, err := a.pulls(name, int64(offset))
				if err != nil || size != int64(len(whole)) || !bytes.Equal(got, whole[offset:]) {
					t.Errorf("%s from %d: %d bytes of %d, %v", name, offset, len(got), size, err)
				}
				if want := []string{fmt.Sprintf("a: %s from %d", name, offset)}; !reflect.DeepEqual(s.asked, want) {
					t.Errorf("asked %q, expected %q", s.asked, want)
				}
			}
		}
		time.Sleep(10 * travel)
		if a.connections() != (connections{}) || b.connections() != (connections{}) || len(b.transport.streams) != 0 {
			t.Errorf("left behind: %+v, %+v", a.connections(), b.connections())
		}
		a.wantLines()
		b.wantLines()
	})
}

// TestPullThatIsRefused says why, and closes what was opened.
func TestPullThatIsRefused(t *testing.T) {
	onShelf(t, func(t *testing.T, s *shelf, a, b *wireNode) {
		for _, c := range []struct {
			name   string
			offset int64
			want   string
		}{
			{"absent", 0, "no absent here"},
			{"small", 6, "offset 6 is beyond the end, 5"},
			{"small", -1, "EOF"},
			{strings.Repeat("x", textBytesMax+1), 0, "the limit is 1024"},
		} {
			if _, _, err := a.pulls(c.name, c.offset); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%.10s from %d: %v", c.name, c.offset, err)
			}
		}
		if n := s.closed.Load(); n != 1 {
			t.Errorf("%d files were closed, one was opened", n)
		}
		b.restart(nil)
		if _, _, err := a.pulls("small", 0); err == nil || !strings.Contains(err.Error(), "nothing to pull here") {
			t.Errorf("from a node that serves nothing: %v", err)
		}
		if _, _, err := a.pull(t.Context(), "c:1", "small", 0); err == nil {
			t.Error("from nobody")
		}
		if c := a.connections(); c != (connections{}) {
			t.Errorf("left behind: %+v", c)
		}
	})
}

// TestPullThatBreaks goes on where it stopped.
func TestPullThatBreaks(t *testing.T) {
	onShelf(t, func(t *testing.T, s *shelf, a, b *wireNode) {
		r, size, err := a.pull(t.Context(), "b:1", "large", 0)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, chunkBytes+5)
		if _, err := io.ReadFull(r, got); err != nil {
			t.Fatal(err)
		}
		b.host.Kill()
		rest, err := io.ReadAll(r)
		if err == nil || len(got)+len(rest) == int(size) {
			t.Errorf("%d of %d bytes arrived, %v", len(got)+len(rest), size, err)
		}
		got = append(got, rest...)
		b.restart(func(o *transportOptions) { o.Bulk = s.open })
		rest, _, err = a.pulls("large", int64(len(got)))
		if got = append(got, rest...); err != nil || !bytes.Equal(got, s.files["large"]) {
			t.Errorf("%d bytes in the end, %v", len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestPullOfWhatShrank or cannot be read: what arrives is never taken for the whole.
func TestPullOfWhatShrank(t *testing.T) {
	for name, wrap := range map[string]func(r io.Reader) io.Reader{
		"shrank": func(r io.Reader) io.Reader { return io.LimitReader(r, chunkBytes+1) },
		"empty":  func(io.Reader) io.Reader { return strings.NewReader("") },
		"cannot be read": func(r io.Reader) io.Reader {
			return io.MultiReader(io.LimitReader(r, 9), iotest.ErrReader(errors.New("bad disk")))
		},
	} {
		onShelf(t, func(t *testing.T, s *shelf, a, b *wireNode) {
			s.wrap = wrap
			got, _, err := a.pulls("large", 0)
			var remote remoteError
			if !errors.As(err, &remote) || len(got) >= len(s.files["large"]) {
				t.Errorf("%s: %d bytes, %v", name, len(got), err)
			}
			if name == "cannot be read" && !strings.Contains(err.Error(), "bad disk") {
				t.Errorf("the reason was lost: %v", err)
			}
			if n := s.closed.Load(); n != 1 {
				t.Errorf("%d files were closed", n)
			}
		})
	}
	onShelf(t, func(t *testing.T, s *shelf, a, b *wireNode) {
		s.wrap = func(r io.Reader) io.Reader { return io.MultiReader(r, strings.NewReader("grown meanwhile")) }
		if got, _, err := a.pulls("large", 0); err != nil || !bytes.Equal(got, s.files["large"]) {
			t.Errorf("grew: %d bytes, %v", len(got), err)
		}
	})
}

// TestPullsAreFew: there is a limit, and its places come back, also those of pullers that stopped listening.
func TestPullsAreFew(t *testing.T) {
	onShelf(t, func(t *testing.T, s *shelf, a, b *wireNode) {
		s.wrap = func(io.Reader) io.Reader { return repeat(7) }
		s.files["large"] = make([]byte, 8<<20) // more than the network holds
		var open []io.ReadCloser
		for range bulkStreamsMax {
			r, _, err := a.pull(t.Context(), "b:1", "large", 0)
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, r)
		}
		if _, _, err := a.pulls("small", 0); err == nil || !strings.Contains(err.Error(), "no more") {
			t.Errorf("one too many: %v", err)
		}
		if err := open[0].Close(); err != nil {
			t.Error(err)
		}
		time.Sleep(10 * travel)
		if _, _, err := a.pulls("small", 0); err != nil {
			t.Errorf("after one has ended: %v", err)
		}
		time.Sleep(2 * testTimeout)
		if n := len(b.transport.streams); n != 0 {
			t.Errorf("%d places are held by who does not listen", n)
		}
		for _, r := range open {
			if _, err := io.Copy(io.Discard, r); err == nil {
				t.Error("a stream that was cut off seems whole")
			}
			_ = r.Close()
		}
	})
}

// TestPullEndsWithItsContext, at any point.
func TestPullEndsWithItsContext(t *testing.T) {
	onShelf(t, func(t *testing.T, s *shelf, a, b *wireNode) {
		blocked := make(chan struct{})
		s.wrap = func(r io.Reader) io.Reader {
			return io.MultiReader(io.LimitReader(r, chunkBytes), readerFunc(func([]byte) (int, error) {
				<-blocked
				return 0, io.EOF
			}))
		}
		ctx, cancel := context.WithCancel(t.Context())
		r, _, err := a.pull(ctx, "b:1", "large", 0)
		if err != nil {
			t.Fatal(err)
		}
		ended := later(func() {
			if n, err := io.Copy(io.Discard, r); err == nil {
				t.Errorf("%d bytes and no error", n)
			}
		})
		time.Sleep(10 * travel)
		if ended() {
			t.Error("it ended too early")
		}
		if cancel(); !ended() {
			t.Error("the context's end does not end it")
		}
		close(blocked)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, _, err := a.pull(ctx, "b:1", "small", 0); err == nil {
			t.Error("a context that has ended")
		}
		if c := a.connections(); c != (connections{}) {
			t.Errorf("left behind: %+v", c)
		}
	})
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestStreamsThatAreNone: what a sender may not send.
func TestStreamsThatAreNone(t *testing.T) {
	chunk := func(s string) []byte { return seal(append(begin(nil, kindChunk), s...)) }
	for name, c := range map[string]struct {
		sent []byte
		want error
	}{
		"more than announced":  {append(chunk("123456"), chunk("")...), errMalformed},
		"more in pieces":       {append(append(chunk("123"), chunk("456")...), chunk("")...), errMalformed},
		"less":                 {append(chunk("123"), chunk("")...), io.ErrUnexpectedEOF},
		"cut before the end":   {chunk("12345"), io.ErrUnexpectedEOF},
		"cut in a chunk":       {chunk("12345")[:10], io.ErrUnexpectedEOF},
		"something in between": {append(chunk("123"), seal(begin(nil, kindBusy))...), errMalformed},
		"broken off":           {append(chunk("123"), seal(appendText(begin(nil, kindBroken), "why"))...), remoteError("why")},
	} {
		s := &stream{w: arrived(c.sent), left: 5, timeout: testTimeout}
		if b, err := io.ReadAll(s); !errors.Is(err, c.want) {
			t.Errorf("%s: %q, %v, expected %v", name, b, err, c.want)
		}
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, c.want) {
			t.Errorf("%s, once more: %v", name, err)
		}
	}
	s := &stream{w: arrived(append(chunk("12345"), chunk("")...)), left: 5, timeout: testTimeout}
	if err := iotest.TestReader(s, []byte("12345")); err != nil {
		t.Error(err)
	}
}

// installs sends a snapshot to b.
func (n *wireNode) installs(data io.Reader, size int) (*raft.InstallSnapshotResponse, error) {
	resp := new(raft.InstallSnapshotResponse)
	r := &raft.InstallSnapshotRequest{
		RPCHeader: n.header(), SnapshotVersion: 1, Term: 2, LastLogIndex: 50, LastLogTerm: 1,
		Configuration: []byte("members"), ConfigurationIndex: 9, Size: int64(size),
	}
	return resp, n.InstallSnapshot("b", "b:1", r, resp, data)
}

func TestInstallSnapshot(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		data := bytes.Repeat([]byte("snapshot"), chunkBytes/4)
		var seen *raft.InstallSnapshotRequest
		var got []byte
		b.raft(func(rpc raft.RPC) {
			seen = rpc.Command.(*raft.InstallSnapshotRequest)
			got, _ = io.ReadAll(rpc.Reader)
			time.Sleep(10 * testTimeout) // longer than any deadline
			rpc.Respond(&raft.InstallSnapshotResponse{Term: 2, Success: true}, nil)
		})
		resp, err := a.installs(bytes.NewReader(data), len(data))
		if err != nil || !resp.Success || resp.Term != 2 {
			t.Fatalf("%+v, %v", resp, err)
		}
		if !bytes.Equal(got, data) || seen.LastLogIndex != 50 || string(seen.Configuration) != "members" || string(seen.ID) != "a" {
			t.Errorf("%d bytes arrived, %+v", len(got), seen)
		}
		if a.match.of("b") != 50 || !a.leaseStart().IsZero() {
			t.Errorf("match index %d, lease from %v", a.match.of("b"), a.leaseStart())
		}
		time.Sleep(10 * travel)
		if a.connections() != (connections{}) || b.connections() != (connections{}) {
			t.Errorf("left behind: %+v, %+v", a.connections(), b.connections())
		}
	})
}

// TestInstallOfWhatIsThere is agreed to without raft, whose goroutine may be busy, and makes no lease: raft might know of a
// newer leader.
func TestInstallOfWhatIsThere(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		asked := uint64(0)
		b.restart(func(o *transportOptions) {
			o.Have = func(index uint64) bool {
				asked = index
				return true
			}
		})
		data := make([]byte, 3*chunkBytes)
		resp, err := a.installs(bytes.NewReader(data), len(data))
		if err != nil || !resp.Success || resp.Term != 2 || asked != 50 {
			t.Errorf("%+v, %v, asked for %d", resp, err, asked)
		}
		if a.match.of("b") != 50 || !a.leaseStart().IsZero() {
			t.Errorf("match index %d, lease from %v", a.match.of("b"), a.leaseStart())
		}
		if _, err := a.installs(strings.NewReader("cut"), len(data)); err == nil {
			t.Error("a stream that was cut is agreed to")
		}
	})
}

// TestInstallThatFails, on any side: nothing counts, and the answers that there are arrive.
func TestInstallThatFails(t *testing.T) {
	data := make([]byte, 5*chunkBytes)
	refuse := func(rpc raft.RPC) { rpc.Respond(nil, errors.New("unsupported version")) } // reads nothing
	half := func(rpc raft.RPC) {
		_, _ = io.CopyN(io.Discard, rpc.Reader, chunkBytes+1)
		rpc.Respond(&raft.InstallSnapshotResponse{Term: 5}, nil)
	}
	whole := func(rpc raft.RPC) {
		_, err := io.Copy(io.Discard, rpc.Reader)
		rpc.Respond(&raft.InstallSnapshotResponse{Term: 2, Success: err == nil}, err)
	}
	for name, c := range map[string]struct {
		raft func(rpc raft.RPC)
		data io.Reader
		want string // "": an answer without success
	}{
		"refused unread":       {refuse, bytes.NewReader(data), "unsupported version"},
		"refused half way":     {half, bytes.NewReader(data), ""},
		"shorter than it says": {whole, bytes.NewReader(data[:chunkBytes]), "bytes were missing: EOF"},
		"cannot be read":       {whole, iotest.ErrReader(errors.New("bad disk")), "bad disk"},
	} {
		t.Run(name, func(t *testing.T) {
			onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
				a, b := nodes[0], nodes[1]
				b.raft(c.raft)
				resp, err := a.installs(c.data, len(data))
				if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) || resp.Success {
					t.Errorf("%+v, %v", resp, err)
				}
				if a.match.of("b") != 0 {
					t.Error("it counted")
				}
				b.wantLines()
			})
		})
	}
}

// TestInstallToTheDead: whoever dies, the other is free again.
func TestInstallToTheDead(t *testing.T) {
	for _, dies := range []string{"sender", "receiver"} {
		onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
			a, b := nodes[0], nodes[1]
			received := make(chan error, 1)
			b.raft(func(rpc raft.RPC) {
				_, err := io.Copy(io.Discard, rpc.Reader)
				rpc.Respond(&raft.InstallSnapshotResponse{Term: 2}, err)
				received <- err
			})
			sent := later(func() {
				if _, err := a.installs(repeat(7), 1<<40); err == nil {
					t.Error("no error")
				}
			})
			time.Sleep(20 * travel)
			if dies == "sender" {
				a.host.Kill()
			} else {
				b.host.Kill()
			}
			if err := <-received; err == nil || errors.Is(err, io.EOF) {
				t.Errorf("the receiver saw %v", err)
			}
			time.Sleep(testTimeout)
			if !sent() {
				t.Error("the sender goes on")
			}
		})
	}
}

// TestInstallAndClose: a raft that stops does not answer; the transport's end is enough.
func TestInstallAndClose(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		sent := later(func() {
			if _, err := a.installs(strings.NewReader("small"), 5); err == nil {
				t.Error("no error")
			}
		})
		<-b.Consumer()
		time.Sleep(10 * testTimeout)
		if sent() {
			t.Error("it ended while the peer was busy")
		}
		b.stop()
		time.Sleep(10 * travel)
		if !sent() {
			t.Error("it goes on after the peer's end")
		}
	})
}
