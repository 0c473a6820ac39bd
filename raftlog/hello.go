package raftlog

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// The hello is the first message each way on every connection. Who opened the connection speaks first; the other
// answers with its own, or with a refusal that says why and ends the conversation. The opener may still find that the
// other is not whom it expected.
//
//	| "ayder-ha" 8 | version 4 | cluster 16 | incarnation 16 | flags 1 | priority 4 | id text | raft address text | HTTP address text |
//	| HTTPS address text (1.1) | patience 4 | lease 4 (1.2) | …
//
// The upper half of version is the major version: both must have the same. The lower half is the minor one: a newer
// node may say more at the end, and an older one does not read it. What a node says, and what is read of another's hello, follows
// from the minor version in it; so nodes are restarted with a new version one by one (version.go).
// Patience and lease are milliseconds (lease.go).
//
// Under TLS (tls.go) the certificate must name the node that the hello claims to come from, so a node with a valid
// certificate cannot pose as another.

// hello is what a node says of itself.
type hello struct {
	Cluster [16]byte // zero: it belongs to none yet
	// Incarnation tells one data directory from another under the same node id (identity.go).
	Incarnation [16]byte
	Founding    bool // it founds the cluster: nothing has been committed before
	NodeID      string
	RaftAddr    string // host:port
	HTTPAddr    string // host:port
	HTTPSAddr   string // host:port, empty for none; since minorHTTPS
	Priority    int
	Version     uint32 // major<<16 | minor
	Times       times  // since minorTimes
}

const helloMagic = "ayder-ha"

// tlsBegins is how a TLS client begins: a handshake record.
const tlsBegins = "\x16\x03"

var errTLSHere = fmt.Errorf("%w: it speaks TLS, this node does not", errMalformed)

// errRefused: one of the two nodes does not want to speak with the other.
var errRefused = errors.New("refused")

func encodeHello(b []byte, h *hello) []byte {
	b = append(begin(b, kindHello), helloMagic...)
	b = binary.LittleEndian.AppendUint32(b, h.Version)
	b = append(b, h.Cluster[:]...)
	b = append(b, h.Incarnation[:]...)
	b = append(b, helloFlags(h))
	b = binary.LittleEndian.AppendUint32(b, uint32(int32(h.Priority)))
	b = appendText(b, h.NodeID)
	b = appendText(b, h.RaftAddr)
	b = appendText(b, h.HTTPAddr)
	if h.minor() >= minorHTTPS {
		b = appendText(b, h.HTTPSAddr)
	}
	if h.minor() >= minorTimes {
		b = binary.LittleEndian.AppendUint32(b, uint32(h.Times.patience.Milliseconds()))
		b = binary.LittleEndian.AppendUint32(b, uint32(h.Times.lease.Milliseconds()))
	}
	return b
}

// minor is the minor version, which says what is at the hello's end.
func (h *hello) minor() uint32 { return h.Version & 0xffff }

// flagFounding is the hello's flag Founding.
const flagFounding = 1

func helloFlags(h *hello) byte {
	if h.Founding {
		return flagFounding
	}
	return 0
}

func decodeHello(body []byte) (hello, error) {
	f := fields{b: body}
	if string(f.take(len(helloMagic))) != helloMagic {
		return hello{}, fmt.Errorf("%w: not a hello", errMalformed)
	}
	var h hello
	h.Version = f.u32()
	copy(h.Cluster[:], f.take(len(h.Cluster)))
	copy(h.Incarnation[:], f.take(len(h.Incarnation)))
	h.Founding = f.u8()&flagFounding != 0
	h.Priority = int(int32(f.u32()))
	h.NodeID = string(f.text())
	h.RaftAddr = string(f.text())
	h.HTTPAddr = string(f.text())
	if h.minor() >= minorHTTPS {
		h.HTTPSAddr = string(f.text())
	}
	if h.minor() >= minorTimes {
		h.Times.patience = time.Duration(f.u32()) * time.Millisecond
		h.Times.lease = time.Duration(f.u32()) * time.Millisecond
	}
	if h.NodeID == "" {
		f.short = true
	}
	return h, f.err(kindHello)
}

// check keeps a hello that nobody could read from being sent.
func (h *hello) check() error {
	for _, s := range []string{h.NodeID, h.RaftAddr, h.HTTPAddr, h.HTTPSAddr} {
		if len(s) > textBytesMax {
			return fmt.Errorf("raftlog: a name of %d bytes, the limit is %d", len(s), textBytesMax)
		}
	}
	return nil
}

// greet opens the conversation on a connection that this node dialed. expected is the peer's id, "" for any.
func (t *transport) greet(w *wire, expected raft.ServerID, deadline time.Time) (hello, error) {
	own := t.o.Self()
	if err := own.check(); err != nil {
		return hello{}, err
	}
	if err := w.send(encodeHello(nil, &own), deadline); err != nil {
		return hello{}, err
	}
	peer, err := readHello(w, deadline)
	if err != nil {
		return hello{}, err
	}
	if expected != "" && string(expected) != peer.NodeID {
		return peer, fmt.Errorf("%w: the node there is %q, not %q", errRefused, peer.NodeID, expected)
	}
	return peer, t.judge(w.conn, &own, peer)
}

// welcome is greet's other side.
func (t *transport) welcome(w *wire, deadline time.Time) (hello, error) {
	peer, err := readHello(w, deadline)
	if err != nil {
		return hello{}, err
	}
	own := t.o.Self()
	if err := t.judge(w.conn, &own, peer); err != nil {
		return peer, errors.Join(err, w.send(appendError(begin(nil, kindRefused), err), deadline))
	}
	return peer, w.send(encodeHello(nil, &own), deadline)
}

func readHello(w *wire, deadline time.Time) (hello, error) {
	k, body, err := w.receiveBy(deadline, smallBodyMax)
	if err != nil {
		if begins, _ := w.r.Peek(len(tlsBegins)); string(begins) == tlsBegins {
			err = errTLSHere
		}
		return hello{}, err
	}
	switch k {
	case kindHello:
		return decodeHello(body)
	case kindRefused:
		f := fields{b: body}
		return hello{}, fmt.Errorf("%w by the peer: %s", errRefused, f.text())
	}
	return hello{}, fmt.Errorf("%w: kind %d in place of a hello", errMalformed, k)
}

// judge decides whether this node speaks with a peer.
func (t *transport) judge(conn net.Conn, own *hello, peer hello) error {
	if own.Version>>16 != peer.Version>>16 {
		return fmt.Errorf("%w: node %q speaks version %d.%d, this node %d.%d", errRefused, peer.NodeID,
			peer.Version>>16, peer.Version&0xffff, own.Version>>16, own.Version&0xffff)
	}
	if peer.NodeID == own.NodeID {
		return fmt.Errorf("%w: the peer calls itself %q, as this node does", errRefused, peer.NodeID)
	}
	if err := checkIdentity(conn, peer.NodeID); err != nil {
		return err
	}
	if t.o.Accept == nil {
		return nil
	}
	if err := t.o.Accept(peer); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	return nil
}

// shakeHands completes the TLS handshake if conn has one, so that its failure is not taken for something else.
func shakeHands(ctx context.Context, conn net.Conn) error {
	if c, ok := conn.(*tls.Conn); ok {
		return c.HandshakeContext(ctx)
	}
	return nil
}
