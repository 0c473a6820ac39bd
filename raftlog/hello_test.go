package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

var testHello = hello{
	Cluster: [16]byte{1, 15: 16}, Incarnation: [16]byte{2, 15: 3}, Founding: true, NodeID: "node-1", RaftAddr: "10.0.0.1:7001", HTTPAddr: "[::1]:7002", HTTPSAddr: "[::1]:7003", Priority: -3, Version: 1<<16 | 2,
	Times: times{300 * time.Millisecond, 200 * time.Millisecond},
}

func TestNoHello(t *testing.T) {
	_, f := opened(t, encodeHello(nil, &testHello))
	for name, body := range map[string][]byte{
		"empty":       {},
		"other magic": append([]byte("ayder-hb"), f.b[8:]...),
		"no node id":  encodeHello(nil, &hello{Version: 1})[wireHeadBytes:],
		"cut short":   f.b[:len(f.b)-1],
		"long name":   encodeHello(nil, &hello{NodeID: strings.Repeat("x", textBytesMax+1)})[wireHeadBytes:],
	} {
		if h, err := decodeHello(body); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
}

// TestHelloOfAnotherMinorVersion: what an older node says ends earlier, what a newer one says goes on.
func TestHelloOfAnotherMinorVersion(t *testing.T) {
	older := testHello
	older.Version = 1 << 16
	_, f := opened(t, encodeHello(nil, &older))
	heard, err := decodeHello(f.b)
	older.HTTPSAddr, older.Times = "", times{}
	if err != nil || heard != older {
		t.Errorf("of an older node: %+v, %v", heard, err)
	}
	newer := testHello
	newer.Version = 1<<16 | minorEnd
	_, f = opened(t, append(encodeHello(nil, &newer), "and more"...))
	if heard, err := decodeHello(f.b); err != nil || heard != newer {
		t.Errorf("of a newer node: %+v, %v", heard, err)
	}
}

// TestWhoMaySpeak: refusals in both directions, each with its reason on both sides.
func TestWhoMaySpeak(t *testing.T) {
	self := func(o *transportOptions, change func(h *hello)) {
		before := o.Self
		o.Self = func() hello {
			h := before()
			change(&h)
			return h
		}
	}
	for _, c := range []struct {
		name    string
		here    func(o *transportOptions) // the dialing node
		there   func(o *transportOptions)
		as      raft.ServerID // whom the caller expects at b
		refused string        // "": they speak
		logsB   string        // the other node refuses
	}{
		{name: "as they are", as: "b"},
		{name: "anybody", as: ""},
		{
			name: "another minor version", as: "b",
			there: func(o *transportOptions) { self(o, func(h *hello) { h.Version = 1<<16 | 9 }) },
		},
		{
			name: "another major version", as: "b", refused: "speaks version 1.3, this node 2.0", logsB: "speaks version 1.3",
			there: func(o *transportOptions) { self(o, func(h *hello) { h.Version = 2 << 16 }) },
		},
		{
			name: "the same name", as: "a", refused: `calls itself "a", as this node does`, logsB: `calls itself "a"`,
			there: func(o *transportOptions) { self(o, func(h *hello) { h.NodeID = "a" }) },
		},
		{name: "another node", as: "c", refused: `the node there is "b", not "c"`},
		{
			name: "the other side refuses", as: "b", refused: "refused by the peer: refused: not you", logsB: "not you",
			there: func(o *transportOptions) {
				o.Accept = func(h hello) error { return fmt.Errorf("not you, %s with %d", h.NodeID, h.Priority) }
			},
		},
		{
			name: "this side refuses", as: "b", refused: "refused: not you",
			here: func(o *transportOptions) { o.Accept = func(hello) error { return errors.New("not you") } },
		},
		{
			name: "a name that nobody could read", as: "b", refused: "2000 bytes",
			here: func(o *transportOptions) {
				self(o, func(h *hello) { h.HTTPAddr = strings.Repeat("x", 2000) })
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
				a, b := nodes[0], nodes[1]
				a.restart(c.here)
				b.restart(c.there)
				b.SetHeartbeatHandler(agree)
				_, err := a.dialOnce(c.as)
				if (err == nil) != (c.refused == "") || err != nil && !strings.Contains(err.Error(), c.refused) {
					t.Errorf("got %v, expected %q", err, c.refused)
				}
				time.Sleep(10 * travel)
				if here, there := a.connections(), b.connections(); c.refused != "" && (here.open != 0 || there.open != 0) {
					t.Errorf("connections: %+v and %+v", here, there)
				}
				if c.logsB != "" {
					b.wantLines(c.logsB)
				} else {
					b.wantLines()
				}
			})
		})
	}
}

// dialOnce opens a connection to b and leaves it to Close.
func (n *wireNode) dialOnce(as raft.ServerID) (*outbound, error) {
	return n.dial(n.ctx, as, "b:1", time.Now().Add(testTimeout))
}

// TestAcceptHearsEverything that the peer says, on both sides.
func TestAcceptHearsEverything(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		heard := make(map[string]hello)
		for _, n := range nodes {
			n.restart(func(o *transportOptions) {
				o.Accept = func(peer hello) error {
					heard[n.id] = peer
					return nil
				}
			})
		}
		if _, err := nodes[0].dialOnce("b"); err != nil {
			t.Fatal(err)
		}
		if heard["a"] != nodes[1].opts.Self() || heard["b"] != nodes[0].opts.Self() {
			t.Errorf("heard %+v", heard)
		}
	})
}

// TestSilentPeer: a connection on which nobody says hello ends, on either side.
func TestSilentPeer(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		w := b.dialed()
		time.Sleep(testTimeout + 10*travel)
		if _, _, err := w.receive(anyBody); err == nil || isTimeout(err) {
			t.Errorf("the silent connection: %v", err)
		}
		b.wantLines("i/o timeout")
		ln, err := a.network.Boot("mute").Listen("mute:1")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := a.dial(a.ctx, "", "mute:1", start.Add(testTimeout)); !isTimeout(err) || time.Since(start) != testTimeout {
			t.Errorf("dialing a mute: %v after %v", err, time.Since(start))
		}
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestNotAHello: whoever begins with something else is sent away before it can cost memory, and logged once.
func TestNotAHello(t *testing.T) {
	onNet(t, 2, func(t *testing.T, nodes ...*wireNode) {
		a, b := nodes[0], nodes[1]
		b.SetHeartbeatHandler(agree)
		for range 5 {
			for _, first := range [][]byte{
				[]byte("GET /metrics HTTP/1.1\r\n\r\n"),
				bytes.Repeat([]byte{0xff}, 100),
				seal(encodeVote(nil, &raft.RequestVoteRequest{})),
				{40}, // and nothing more
				{},
			} {
				w := b.dialed()
				if _, err := w.conn.Write(first); err != nil {
					t.Fatal(err)
				}
				if len(first) < wireHeadBytes {
					_ = w.conn.Close()
					continue
				}
				if _, _, err := w.receive(anyBody); err == nil {
					t.Errorf("%.10q was answered", first)
				}
			}
		}
		time.Sleep(10 * travel)
		if _, err := a.appendTo("b", a.beats()); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		b.wantLines("malformed message: kind 114")
	})
}
