package main

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
	"ayder/tools/certs/authority"
)

// SIGHUP: what is good is taken over, what is not changes nothing.

// shown is the serial number of the certificate that a TLS port shows; cert is what the client shows, if anything.
func shown(t *testing.T, addr string, cert *tls.Certificate) string {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	if cert != nil {
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

const (
	tookHTTPS    = "certificate for clients read again"
	refusedHTTPS = "certificate for clients not taken over"
	tookNodes    = "certificates between nodes read again"
	refusedNodes = "certificates between nodes not taken over"
)

func TestCertificateForClientsIsReadAgain(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		dir := t.TempDir()
		a := mustAuthority(t, dir)
		renew := func() { issue(t, a, "server", time.Now().Add(-time.Hour), 24*time.Hour) }
		renew()
		certFile, keyFile, addr := authority.CertFile(dir, "server"), authority.KeyFile(dir, "server"), freeAddr(t)
		o.Args = append(o.Args, "--tls-cert", certFile, "--tls-key", keyFile, "--tls-listen", addr)
		s := proc.Run(t, o)
		first := shown(t, addr, nil)
		client := httpsClient(t, dir, false)
		post(t, client, "https://"+addr+"/broker/topics/t/produce?partition=0", "before")

		renew()
		if shown(t, addr, nil) != first {
			t.Error("read without a signal")
		}
		hangUp(t, s, tookHTTPS)
		second := shown(t, addr, nil)
		if second == first {
			t.Error("the new certificate is not shown")
		}

		good, err := os.ReadFile(keyFile)
		if err != nil {
			t.Fatal(err)
		}
		for name, spoil := range map[string]func(){
			"no key": func() { mustWrite(t, keyFile, []byte("nonsense")) },
			"another's key": func() {
				issue(t, a, "other", time.Now(), time.Hour)
				mustCopy(t, authority.KeyFile(dir, "other"), keyFile)
			},
			"no certificate":  func() { mustWrite(t, keyFile, good); mustWrite(t, certFile, nil) },
			"one not there":   func() { _ = os.Remove(certFile) },
			"an expired pair": func() { expired(t, a, "server") },
		} {
			spoil()
			hangUp(t, s, refusedHTTPS)
			if shown(t, addr, nil) != second {
				t.Errorf("%s: another certificate is shown", name)
			}
		}
		if r, text := post(t, client, "https://"+addr+"/broker/topics/t/produce?partition=0", "after"); r.StatusCode != 200 {
			t.Errorf("%s: %s", r.Status, text)
		}
		renew()
		hangUp(t, s, tookHTTPS)
		if shown(t, addr, nil) == second {
			t.Error("the good certificate after bad ones is not shown")
		}
	})
}

func mustWrite(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustCopy(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	mustWrite(t, to, text)
}

// The cluster changes to another authority without a restart: first all believe both, then all show certificates of the new
// one, then the old one is believed no more.
func TestAuthorityIsReplacedWithoutARestart(t *testing.T) {
	g, dir := securedGroup(t)
	g.start(g.nodes...)
	want := g.putMany("rotate", 0, 5)
	next := t.TempDir()
	a := mustAuthority(t, next)
	for _, n := range g.nodes {
		issue(t, a, n.id, time.Now().Add(-time.Hour), 24*time.Hour)
	}
	old, err := tls.LoadX509KeyPair(authority.CertFile(dir, "n2"), authority.KeyFile(dir, "n2"))
	if err != nil {
		t.Fatal(err)
	}
	before := shown(t, g.nodes[0].raft, &old)
	everywhere := func() {
		for _, n := range g.nodes {
			hangUp(t, n.Server, tookNodes)
		}
		want = append(want, g.putMany("rotate", len(want), 3)...)
	}
	oldCA, err := os.ReadFile(authority.CAFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	newCA, err := os.ReadFile(authority.CAFile(next))
	if err != nil {
		t.Fatal(err)
	}

	mustWrite(t, authority.CAFile(dir), newCA) // too early: its own certificate would not be believed
	hangUp(t, g.nodes[0].Server, refusedNodes)
	if shown(t, g.nodes[0].raft, &old) != before {
		t.Error("another certificate is shown after a refusal")
	}

	mustWrite(t, authority.CAFile(dir), append(oldCA, newCA...))
	everywhere()
	for _, n := range g.nodes {
		mustCopy(t, authority.CertFile(next, n.id), authority.CertFile(dir, n.id))
		mustCopy(t, authority.KeyFile(next, n.id), authority.KeyFile(dir, n.id))
	}
	everywhere()
	mustWrite(t, authority.CAFile(dir), newCA)
	everywhere()

	leader := g.leader() // its connections are made anew, with what was read
	mustKill(t, leader.Server)
	want = append(want, g.putMany("rotate", len(want), 3)...)
	g.start(leader)
	g.mustAllHold("rotate", 0, want)
	if shown(t, g.nodes[0].raft, &old) == before {
		t.Error("the old certificate is shown")
	}
	if err := stranger(t, g.nodes[0].raft, ""); err == nil {
		t.Error("a stranger is let in")
	}
	c, err := tls.Dial("tcp", g.nodes[0].raft, &tls.Config{
		InsecureSkipVerify:   true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &old, nil },
	})
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(proc.HangGuard))
		_, err = c.Read(make([]byte, 1))
		_ = c.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "remote error") {
		t.Errorf("a certificate of the old authority: %v", err)
	}
}
