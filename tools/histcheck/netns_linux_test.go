package main

import (
	"maps"
	"net"
	"slices"
	"testing"
	"time"
)

// What the faults rest on: a line that is cut drops packets in one direction only, without an answer, and
// works again when it is mended.

// lines makes namespaces, or skips.
func lines(t *testing.T, nodes int) *namespaces {
	t.Helper()
	n, err := newNamespaces(nodes)
	if err != nil {
		t.Skip("no namespaces here: ", err)
	}
	t.Cleanup(func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	})
	return n.(*namespaces)
}

// station is a socket of a node that keeps what it gets.
func station(t *testing.T, n *namespaces, node int) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	err := within(n.nodes[node], func() (err error) {
		c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(host(node)), Port: 7})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// hears tells which of the others reach node: everybody sends to it, the clients' side last, which is never
// cut, so that what does not come need not be waited for. What is wanted is waited for: packets may overtake, and the
// first ones over a new line may be dropped, so they are sent again.
func hears(t *testing.T, n *namespaces, stations []*net.UDPConn, node int, round byte, wanted map[byte]bool) (from map[byte]bool) {
	t.Helper()
	from = make(map[byte]bool)
	call(t, n, stations, node, round)
	for missing, end := len(wanted), time.Now().Add(settleWait); missing > 0; {
		if err := stations[node].SetReadDeadline(time.Now().Add(settleWait / 100)); err != nil {
			t.Fatal(err)
		}
		var b [2]byte
		switch _, err := stations[node].Read(b[:]); {
		case err != nil && time.Now().After(end):
			t.Fatalf("heard %v, want %v: %v", from, wanted, err)
		case err != nil:
			call(t, n, stations, node, round)
			continue
		case b[1] != round: // from before the lines were changed
			continue
		}
		if wanted[b[0]] && !from[b[0]] {
			missing--
		}
		from[b[0]] = true
	}
	return from
}

// call has everybody send to node: who it is, and the round.
func call(t *testing.T, n *namespaces, stations []*net.UDPConn, node int, round byte) {
	t.Helper()
	to := stations[node].LocalAddr().(*net.UDPAddr)
	for i, s := range stations {
		if i != node {
			if _, err := s.WriteToUDP([]byte{byte(i), round}, to); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := within(n.router, func() error { return send(to, clients, round) }); err != nil {
		t.Fatal(err)
	}
}

const clients = 255

func send(to *net.UDPAddr, b ...byte) error {
	c, err := net.DialUDP("udp4", nil, to)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Write(b)
	return err
}

func TestLinesAreCutInOneDirection(t *testing.T) {
	const nodes = 3
	n := lines(t, nodes)
	stations := make([]*net.UDPConn, nodes)
	for i := range stations {
		stations[i] = station(t, n, i)
	}
	round := byte(0)
	for name, cut := range map[string][]link{
		"none":            nil,
		"one direction":   {{0, 1}},
		"the other":       {{1, 0}},
		"both":            {{0, 1}, {1, 0}},
		"one is silent":   {{2, 0}, {2, 1}},
		"none once more":  {},
		"everything else": {{0, 1}, {1, 0}, {0, 2}, {2, 0}, {1, 2}, {2, 1}},
	} {
		if err := n.cut(cut); err != nil {
			t.Fatal(name, err)
		}
		for to := range nodes {
			wanted := map[byte]bool{clients: true}
			for from := range nodes {
				if from != to && !slices.Contains(cut, link{from, to}) {
					wanted[byte(from)] = true
				}
			}
			round++
			if heard := hears(t, n, stations, to, round, wanted); !maps.Equal(heard, wanted) {
				t.Errorf("%s: node %d hears %v, want %v", name, to, heard, wanted)
			}
		}
	}
}

// A connection that is made while the line is cut is not refused: it waits, and comes about when the line is mended.
func TestACutLineIsSilent(t *testing.T) {
	n := lines(t, 2)
	var l net.Listener
	err := within(n.nodes[1], func() (err error) {
		l, err = net.Listen("tcp4", host(1)+":9")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := n.cut([]link{{0, 1}}); err != nil {
		t.Fatal(err)
	}
	dial := func(wait time.Duration) error {
		return within(n.nodes[0], func() error {
			c, err := net.DialTimeout("tcp4", l.Addr().String(), wait)
			if err == nil {
				c.Close()
			}
			return err
		})
	}
	err = dial(200 * time.Millisecond)
	if e, ok := err.(net.Error); !ok || !e.Timeout() {
		t.Errorf("a connection over a cut line: %v, want a timeout", err)
	}
	if err := n.cut(nil); err != nil {
		t.Fatal(err)
	}
	if err := dial(settleWait); err != nil {
		t.Error(err)
	}
}
