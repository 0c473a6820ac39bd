package main

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
	"ayder/tools/certs/authority"
)

// TLS between the nodes. Who has no certificate of the cluster's authority, or one that has expired, or one of another
// node, gets no further than the handshake or the hello, and the node that refuses says so in one line.

// securedGroup has a certificate for each node, made by an authority in dir.
func securedGroup(t *testing.T) (g *group, dir string) {
	t.Helper()
	g = newGroup(t, 3, proc.Options{})
	dir = t.TempDir()
	a := mustAuthority(t, dir)
	for _, n := range g.nodes {
		issue(t, a, n.id, time.Now().Add(-time.Hour), 24*time.Hour)
		n.options.Env = append(
			n.options.Env, "RF_HA_TLS=1", "RF_HA_TLS_CA="+authority.CAFile(dir),
			"RF_HA_TLS_CERT="+authority.CertFile(dir, n.id), "RF_HA_TLS_KEY="+authority.KeyFile(dir, n.id),
		)
	}
	return g, dir
}

func mustAuthority(t *testing.T, dir string) *authority.Authority {
	t.Helper()
	a, err := authority.Create(dir, 48*time.Hour, false)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func issue(t *testing.T, a *authority.Authority, id string, from time.Time, valid time.Duration) {
	t.Helper()
	if _, err := a.Issue(authority.Node{ID: id, Hosts: []string{"127.0.0.1"}, From: from, Valid: valid, Replace: true}); err != nil {
		t.Fatal(err)
	}
}

// expired makes a certificate whose time is over.
func expired(t *testing.T, a *authority.Authority, id string) {
	t.Helper()
	issue(t, a, id, time.Now().Add(-3*time.Hour), time.Hour)
}

func TestClusterSpeaksTLS(t *testing.T) {
	t.Parallel()
	g, _ := securedGroup(t)
	g.start(g.nodes...)
	want := g.putMany("secret", 0, 10)
	mustKill(t, g.leader().Server)
	want = append(want, g.putMany("secret", 10, 5)...)
	for _, n := range g.nodes {
		if !n.running() {
			g.start(n)
		}
	}
	g.mustAllHold("secret", 0, want)
}

// Strangers dial the raft port, as somebody would who wants to read along.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	g, dir := securedGroup(t)
	g.start(g.nodes...)
	want := g.putMany("secret", 0, 3)
	foreign := t.TempDir()
	issue(t, mustAuthority(t, foreign), "n2", time.Now(), time.Hour)
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	a, err := authority.Open(old)
	if err != nil {
		t.Fatal(err)
	}
	expired(t, a, "n2")
	for name, c := range map[string]struct {
		certs string // directory of the stranger's certificate, empty for none
		want  string
	}{
		"a foreign certificate":  {foreign, "not signed by this cluster's CA"},
		"an expired certificate": {old, "is valid from"},
		"no certificate":         {"", "shows no certificate"},
	} {
		before := strings.Count(g.nodes[0].Log(), c.want)
		if err := stranger(t, g.nodes[0].raft, c.certs); err == nil {
			t.Errorf("%s: the handshake succeeded", name)
		}
		g.eventually("the refusal of "+name+" is logged", func() bool { return strings.Contains(g.nodes[0].Log(), c.want) })
		if n := strings.Count(g.nodes[0].Log(), c.want) - before; n != 1 {
			t.Errorf("%s: %d lines with %q", name, n, c.want)
		}
	}
	if err := plainStranger(g.nodes[0].raft); err == nil {
		t.Error("without TLS: an answer")
	}
	g.eventually("the refusal of plain TCP is logged", func() bool { return strings.Contains(g.nodes[0].Log(), "does not speak TLS") })
	g.mustAllHold("secret", 0, append(want, g.putMany("secret", 3, 3)...))
}

// stranger shakes hands with a raft port as n2 would, with other certificates. TLS 1.3 tells a client only with the first
// byte that it reads whether it was let in.
func stranger(t *testing.T, addr, certs string) error {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	if certs != "" {
		cert, err := tls.LoadX509KeyPair(authority.CertFile(certs, "n2"), authority.KeyFile(certs, "n2"))
		if err != nil {
			t.Fatal(err)
		}
		// Certificates would be left out where they do not fit what the server asks for.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(proc.HangGuard)); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

func plainStranger(addr string) error {
	c, err := proc.Dial(addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.Get("/metrics")
	return err
}

// A node that is given another node's certificate, or one of another authority, is not let in; it says itself what is wrong
// where it can see it.
func TestNodesWithWrongCertificatesDoNotStart(t *testing.T) {
	t.Parallel()
	g, dir := securedGroup(t)
	a, err := authority.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	third := g.nodes[2]
	foreign := t.TempDir()
	issue(t, mustAuthority(t, foreign), "n3", time.Now(), time.Hour)
	issue(t, a, "late", time.Now(), time.Hour)
	expired(t, a, "late")
	for name, c := range map[string]struct{ dir, id, want string }{
		"foreign":       {foreign, "n3", "not signed by this cluster's CA"},
		"expired":       {dir, "late", "is valid from"},
		"another's":     {dir, "n1", "not the node"},
		"one not there": {dir, "n4", "n4.crt"},
	} {
		o := third.options
		o.Env = append(append([]string(nil), o.Env...),
			"RF_HA_TLS_CERT="+authority.CertFile(c.dir, c.id), "RF_HA_TLS_KEY="+authority.KeyFile(c.dir, c.id))
		o.Dir = t.TempDir()
		s, err := proc.Launch(o)
		if err != nil {
			t.Fatal(err)
		}
		code, err := s.Exit(proc.HangGuard)
		if err != nil || code == 0 || !strings.Contains(s.Log(), c.want) {
			t.Errorf("%s: exit status %d, %v: %s", name, code, err, s.Log())
		}
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	}
}

// The authority is pinned: what the operating system trusts is not looked at, so its certificates are of no use here.
func TestCertificatesAreOfTheAuthority(t *testing.T) {
	t.Parallel()
	g, dir := securedGroup(t)
	g.start(g.nodes...)
	text, err := os.ReadFile(authority.CAFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	cert, err := tls.LoadX509KeyPair(authority.CertFile(dir, "n2"), authority.KeyFile(dir, "n2"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := tls.Dial("tcp", g.nodes[0].raft, &tls.Config{RootCAs: pool, ServerName: "n1", Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if v := c.ConnectionState().Version; v != tls.VersionTLS13 {
		t.Errorf("TLS version %x", v)
	}
	if _, err := tls.Dial("tcp", g.nodes[0].raft, &tls.Config{RootCAs: pool, ServerName: "n1", Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
}
