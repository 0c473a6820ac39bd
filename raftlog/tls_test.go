package raftlog

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// testCA makes certificates.
type testCA struct {
	t    *testing.T
	dir  string
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	made int
}

func newTestCA(t *testing.T) *testCA {
	t.Helper()
	ca := &testCA{t: t, dir: t.TempDir()}
	ca.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "the CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, ca.key = ca.sign(ca.cert)
	ca.file = ca.write("ca.pem", "CERTIFICATE", der)
	return ca
}

// sign makes a key and a certificate for it; the CA's own is signed by itself.
func (ca *testCA) sign(c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		ca.t.Fatal(err)
	}
	signer := ca.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca.cert, &key.PublicKey, signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	return der, key
}

func (ca *testCA) write(name, kind string, der []byte) string {
	ca.t.Helper()
	file := filepath.Join(ca.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		ca.t.Fatal(err)
	}
	return file
}

// node makes a certificate for a node; change may alter it before it is signed.
func (ca *testCA) node(id string, change func(c *x509.Certificate)) (cert, key string) {
	ca.t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "some machine"}, DNSNames: []string{id, "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(c)
	}
	der, private := ca.sign(c)
	b, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.made++
	name := fmt.Sprintf("%s-%d", id, ca.made)
	return ca.write(name+".pem", "CERTIFICATE", der), ca.write(name+".key", "EC PRIVATE KEY", b)
}

// configs are the TLS configurations of a node with a good certificate.
func (ca *testCA) configs(id string) (server, client *tls.Config) {
	ca.t.Helper()
	cert, key := ca.node(id, nil)
	server, client, err := TLSConfigs(ca.file, cert, key, id)
	if err != nil {
		ca.t.Fatal(err)
	}
	return server, client
}

// forged are configurations of a node that does not look at itself, with any certificate: what an intruder would use.
func (ca *testCA) forged(id string, change func(c *x509.Certificate)) *tls.Config {
	ca.t.Helper()
	own, err := tls.LoadX509KeyPair(ca.node(id, change))
	if err != nil {
		ca.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{own}, InsecureSkipVerify: true, ClientAuth: tls.RequestClientCert}
}

// tlsNode is a transport on a loopback socket.
type tlsNode struct {
	*wireNode
	addr raft.ServerAddress
}

// newTLSNode listens with server and dials with client; nil: without TLS.
func newTLSNode(t *testing.T, id string, server, client *tls.Config) *tlsNode {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &tlsNode{&wireNode{t: t, id: id, lines: new(logLines)}, raft.ServerAddress(ln.Addr().String())}
	if server != nil {
		ln = tls.NewListener(ln, server)
	}
	dial := dialTCP
	if client != nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := dialTCP(ctx, addr)
			if err != nil {
				return nil, err
			}
			return tls.Client(conn, client), nil
		}
	}
	n.transport = newTransport(transportOptions{
		Listener: ln, Dial: dial, Self: func() hello { return hello{NodeID: id, RaftAddr: string(n.addr)} },
		LocalDurable: func() uint64 { return 0 }, WaitDurable: func(uint64) bool { return true },
		Voters: func() []raft.ServerID { return []raft.ServerID{"a", "b"} }, Logger: slog.New(n.lines), Timeout: 10 * time.Second,
	})
	n.SetHeartbeatHandler(agree)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// beatTo sends a heartbeat to the node b.
func (n *tlsNode) beatTo(b *tlsNode) error {
	return n.AppendEntries(raft.ServerID(b.id), b.addr, n.beats(), new(raft.AppendEntriesResponse))
}

// logged waits until a node has logged something.
func (n *tlsNode) logged() {
	n.t.Helper()
	for range 1000 {
		n.lines.mu.Lock()
		some := len(n.lines.lines) > 0
		n.lines.mu.Unlock()
		if some {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	n.t.Errorf("%s logged nothing", n.id)
}

func TestTLS(t *testing.T) {
	ca := newTestCA(t)
	aServer, aClient := ca.configs("a")
	bServer, bClient := ca.configs("b")
	a, b := newTLSNode(t, "a", aServer, aClient), newTLSNode(t, "b", bServer, bClient)
	if err := a.beatTo(b); err != nil {
		t.Error(err)
	}
	if err := b.beatTo(a); err != nil {
		t.Error(err)
	}
	conn, err := tls.Dial("tcp", string(b.addr), aClient)
	if err != nil {
		t.Fatal(err)
	}
	if v := conn.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("version %x", v)
	}
	_ = conn.Close()
	old := aClient.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	if _, err := tls.Dial("tcp", string(b.addr), old); err == nil {
		t.Error("TLS 1.2 was accepted")
	}
	a.wantLines()
}

// TestIntermediateCA: the certificate's file may hold more than the certificate.
func TestIntermediateCA(t *testing.T) {
	ca := newTestCA(t)
	between := &testCA{t: t, dir: t.TempDir()}
	between.cert = &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "between"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: ca.cert.NotBefore, NotAfter: ca.cert.NotAfter, KeyUsage: x509.KeyUsageCertSign,
	}
	der, key := ca.sign(between.cert)
	between.key = key
	configs := func(id string) (server, client *tls.Config, err error) {
		cert, key := between.node(id, nil)
		leaf, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := TLSConfigs(ca.file, cert, key, id); err == nil {
			t.Error("a chain with a link missing")
		}
		chain := append(leaf, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
		if err := os.WriteFile(cert, chain, 0o600); err != nil {
			t.Fatal(err)
		}
		return TLSConfigs(ca.file, cert, key, id)
	}
	aServer, aClient, errA := configs("a")
	bServer, bClient, errB := configs("b")
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	a, b := newTLSNode(t, "a", aServer, aClient), newTLSNode(t, "b", bServer, bClient)
	if err := a.beatTo(b); err != nil {
		t.Error(err)
	}
}

// TestTLSRefusals: each is one line in the log of who refuses, and the other cannot speak.
func TestTLSRefusals(t *testing.T) {
	ca, foreign := newTestCA(t), newTestCA(t)
	expired := func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	}
	early := func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour / 2) }
	otherName := func(c *x509.Certificate) { c.DNSNames = []string{"c"} }
	clientOnly := func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	for _, c := range []struct {
		name    string
		a       *tls.Config // of the stranger; nil: plain
		as      string      // dials or listens as
		refused string      // in the log of b
	}{
		{"foreign CA", foreign.forged("a", nil), "", "was not signed by this cluster's CA"},
		{"expired", ca.forged("a", expired), "", "is valid from"},
		{"not yet valid", ca.forged("a", early), "", "is valid from"},
		{"no certificate", &tls.Config{InsecureSkipVerify: true}, "client", "it shows no certificate"},
		{"no TLS", nil, "client", "it does not speak TLS"},
		{"another's name", ca.forged("a", otherName), "", `names "some machine" and ["c"], not the node "a"`},
		{"not for a server", ca.forged("a", clientOnly), "server", "incompatible key usage"},
	} {
		if c.as != "server" {
			t.Run(c.name+", dialing", func(t *testing.T) {
				server, client := ca.configs("b")
				a, b := newTLSNode(t, "a", c.a, c.a), newTLSNode(t, "b", server, client)
				for range 3 {
					if err := a.beatTo(b); err == nil {
						t.Error("it may speak")
					}
				}
				b.logged()
				b.wantLines(c.refused)
			})
		}
		if c.as != "client" {
			t.Run(c.name+", listening", func(t *testing.T) {
				server, client := ca.configs("b")
				a, b := newTLSNode(t, "a", c.a, c.a), newTLSNode(t, "b", server, client)
				for range 3 {
					if err := b.beatTo(a); err == nil {
						t.Error("it is spoken to")
					}
				}
				b.wantLines(c.refused)
			})
		}
	}
}

// TestTLSToPlain: a node with TLS that dials one without. The one without knows why it cannot work.
func TestTLSToPlain(t *testing.T) {
	server, client := newTestCA(t).configs("b")
	a, b := newTLSNode(t, "a", nil, nil), newTLSNode(t, "b", server, client)
	if err := b.beatTo(a); err == nil {
		t.Error("it is spoken to")
	}
	a.logged()
	a.wantLines("it speaks TLS, this node does not")
}

// TestTLSDialerThatShakesHands: refusals are logged also if the dialer completes the handshake itself.
func TestTLSDialerThatShakesHands(t *testing.T) {
	ca, foreign := newTestCA(t), newTestCA(t)
	server, client := ca.configs("b")
	a, b := newTLSNode(t, "a", foreign.forged("a", nil), nil), newTLSNode(t, "b", server, client)
	b.o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		return (&tls.Dialer{Config: client}).DialContext(ctx, "tcp", addr)
	}
	if err := b.beatTo(a); err == nil {
		t.Error("it is spoken to")
	}
	b.wantLines("was not signed by this cluster's CA")
}

// TestCertificateThatNamesTheNode in either place.
func TestCertificateThatNamesTheNode(t *testing.T) {
	for _, c := range []struct {
		common string
		names  []string
		want   bool
	}{
		{"node-1", nil, true},
		{"x", []string{"y", "node-1"}, true},
		{"x", []string{"node-12", "Node-1", "*.node-1"}, false},
		{"", nil, false},
	} {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: c.common}, DNSNames: c.names}
		if err := checkName(cert, "node-1"); (err == nil) != c.want {
			t.Errorf("%q, %q: %v", c.common, c.names, err)
		}
	}
}

// TestOwnCertificate: a node that the others would refuse does not start, and says why.
func TestOwnCertificate(t *testing.T) {
	ca, foreign := newTestCA(t), newTestCA(t)
	make := func(ca *testCA, change func(c *x509.Certificate)) [2]string {
		cert, key := ca.node("a", change)
		return [2]string{cert, key}
	}
	cert, _ := ca.node("b", nil)
	_, key := ca.node("a", nil)
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, ca string
		files    [2]string
		want     string
	}{
		{"no CA", "/nowhere", [2]string{cert, key}, "no such file"},
		{"CA is none", garbage, [2]string{cert, key}, "holds no certificate"},
		{"no certificate", ca.file, [2]string{"/nowhere", key}, "no such file"},
		{"key of another", ca.file, [2]string{cert, key}, "private key does not match"},
		{"foreign", ca.file, make(foreign, nil), "was not signed by this cluster's CA"},
		{"expired", ca.file, make(ca, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "is valid from"},
		{"another's name", ca.file, make(ca, func(c *x509.Certificate) { c.DNSNames = nil }), `not the node "a"`},
		{"for clients alone", ca.file, make(ca, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }), "key usage"},
		{"for servers alone", ca.file, make(ca, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), "key usage"},
	} {
		if _, _, err := TLSConfigs(c.ca, c.files[0], c.files[1], "a"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestTLSIsReadAgain: the next connection shows what the files hold, from both ends, and files that are no good change nothing.
func TestTLSIsReadAgain(t *testing.T) {
	ca := newTestCA(t)
	cert, key := ca.node("a", nil)
	own, err := LoadTLS(ca.file, cert, key, "a")
	if err != nil {
		t.Fatal(err)
	}
	server := own.Server() // as the listener has it, once
	seen := func() (asServer, asClient string) {
		peer, peerClient := ca.configs("b")
		asServer, _ = handshake(t, server, peerClient)
		_, asClient = handshake(t, peer, own.Client())
		return asServer, asClient
	}
	first, _ := seen()
	again, _ := ca.node("a", nil)
	for _, spoil := range []func(){
		func() { rename(t, again, cert) }, // of another key
		func() { rename(t, ca.write("x", "CERTIFICATE", []byte("garbage")), cert) },
		func() { _ = os.Remove(cert) },
	} {
		spoil()
		if own.Reload() == nil {
			t.Error("bad files were taken over")
		}
		if asServer, asClient := seen(); asServer != first || asClient != first {
			t.Error("something else is shown after bad files")
		}
	}
	newCert, newKey := ca.node("a", nil)
	rename(t, newCert, cert)
	rename(t, newKey, key)
	if err := own.Reload(); err != nil {
		t.Fatal(err)
	}
	if asServer, asClient := seen(); asServer == first || asClient != asServer {
		t.Error("the new certificate is not shown by both ends")
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// handshake returns the certificates that were shown by the server and by the client.
func handshake(t *testing.T, server, client *tls.Config) (byServer, byClient string) {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	s, c := tls.Server(near, server), tls.Client(far, client)
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	if err := errors.Join(c.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return string(c.ConnectionState().PeerCertificates[0].Raw), string(s.ConnectionState().PeerCertificates[0].Raw)
}

// TestCloseDoesNotSayGoodbye: a TLS connection whose peer does not read must not keep Close waiting.
func TestCloseDoesNotSayGoodbye(t *testing.T) {
	ca := newTestCA(t)
	server, client := ca.configs("b")
	here, there := net.Pipe()
	shaken := make(chan error, 1)
	go func() { shaken <- tls.Server(there, server).Handshake() }()
	conn := tls.Client(here, client)
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	cut(conn) // nobody reads the pipe: goodbye would take its five seconds
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	if _, err := here.Write([]byte("x")); err == nil {
		t.Error("the connection below is open")
	}
}
