package main

import (
	"crypto/tls"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ayder/tools/certs/authority"
)

// certs runs the program.
func certs(args ...string) (code int, stdout, stderr string) {
	var out, said strings.Builder
	code = run(args, &out, &said)
	return code, out.String(), said.String()
}

func leaf(t *testing.T, dir, id string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(authority.CertFile(dir, id), authority.KeyFile(dir, id))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestCertificatesAreMade(t *testing.T) {
	dir := t.TempDir() + "/made"
	code, out, said := certs("-dir", dir, "node1=127.0.0.1,localhost", "node2=[::1]", "node3")
	if code != 0 || said != "" || strings.Count(out, "\n") != 4 || !strings.HasPrefix(out, "made the authority \"Ayder cluster ") {
		t.Fatalf("%d %s %s", code, out, said)
	}
	first := leaf(t, dir, "node1").Leaf
	if !slices.Equal(first.DNSNames, []string{"node1", "localhost"}) || len(first.IPAddresses) != 1 || first.Subject.CommonName != "node1" {
		t.Errorf("%v %v", first.DNSNames, first.IPAddresses)
	}
	if second := leaf(t, dir, "node2").Leaf; len(second.IPAddresses) != 1 || second.IPAddresses[0].String() != "::1" {
		t.Errorf("%v", second.IPAddresses)
	}
	if left := time.Until(first.NotAfter); left < 824*day || left > 825*day {
		t.Errorf("valid for %v", left)
	}
}

func TestNodesAreAddedLater(t *testing.T) {
	dir := t.TempDir()
	certs("-dir", dir, "node1=127.0.0.1")
	code, out, _ := certs("-dir", dir, "node4=127.0.0.1")
	if code != 0 || !strings.HasPrefix(out, "uses the authority") {
		t.Errorf("%d %s", code, out)
	}
	if issuer := leaf(t, dir, "node4").Leaf.Issuer.String(); issuer != leaf(t, dir, "node1").Leaf.Issuer.String() {
		t.Errorf("signed by %s", issuer)
	}
}

func TestReplacingIsAskedFor(t *testing.T) {
	dir := t.TempDir()
	certs("-dir", dir, "node1", "node2")
	old := leaf(t, dir, "node1").Leaf
	if code, _, said := certs("-dir", dir, "node1"); code != 1 || !strings.HasSuffix(said, "; -renew replaces it\n") {
		t.Errorf("%d %s", code, said)
	}
	if !leaf(t, dir, "node1").Leaf.Equal(old) {
		t.Error("replaced")
	}
	if code, _, said := certs("-dir", dir, "-renew", "node1"); code != 0 || leaf(t, dir, "node1").Leaf.Equal(old) {
		t.Errorf("not renewed: %d %s", code, said)
	}
	code, out, said := certs("-dir", dir, "-new-ca", "node1")
	if code != 0 || !strings.HasPrefix(out, "made the authority") || leaf(t, dir, "node1").Leaf.Issuer.String() == old.Issuer.String() {
		t.Errorf("%d %s %s", code, out, said)
	}
	if err := os.Remove(dir + "/ca.key"); err != nil {
		t.Fatal(err)
	}
	if code, _, said := certs("-dir", dir, "node5"); code != 1 || !strings.Contains(said, "ca.key: no such file or directory; -new-ca replaces it") {
		t.Errorf("%d %s", code, said)
	}
}

func TestExpiredOnesCanBeMade(t *testing.T) {
	dir := t.TempDir()
	code, out, said := certs("-dir", dir, "-from", "2020-02-01", "-days", "2", "node1")
	if l := leaf(t, dir, "node1").Leaf; code != 0 || l.NotAfter.Format(time.DateOnly) != "2020-02-03" || !strings.Contains(out, "valid until 2020-02-03") {
		t.Errorf("%d %s %s %v", code, out, said, l.NotAfter)
	}
	if _, err := authority.Open(dir); err != nil {
		t.Errorf("the authority: %v", err)
	}
	dir = t.TempDir()
	certs("-dir", dir, "-ca-days", "3", "node1")
	if l := leaf(t, dir, "node1").Leaf; time.Until(l.NotAfter) > 3*day {
		t.Errorf("outlives its authority: %v", l.NotAfter)
	}
}

func TestWrongUsage(t *testing.T) {
	dir := t.TempDir() + "/none"
	for _, tt := range []struct{ args, want string }{
		{"", "certs: want -dir DIR and nodes"},
		{"-dir " + dir, "certs: want -dir DIR and nodes"},
		{"node1", "certs: want -dir DIR and nodes"},
		{"-dir " + dir + " -days 0 node1", "certs: want -dir DIR and nodes"},
		{"-dir " + dir + " -from yesterday node1", "certs: -from yesterday: want a day"},
		{"-dir " + dir + " node1=", `certs: node1=: node node1: host "" is neither`},
		{"-dir " + dir + " node1 =127.0.0.1", `certs: =127.0.0.1: node id ""`},
		{"-dir " + dir + " node1=a Node1=b", "certs: node Node1 is given twice"},
		{"-dir " + dir + " ca=127.0.0.1", `certs: ca=127.0.0.1: node id "ca"`},
	} {
		code, out, said := certs(strings.Fields(tt.args)...)
		if code != 2 || out != "" || !strings.HasPrefix(said, tt.want) {
			t.Errorf("%s: %d %s %s", tt.args, code, out, said)
		}
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("something was made")
	}
	if code, _, said := certs("-h"); code != 0 || !strings.Contains(said, "-renew") {
		t.Errorf("%d %s", code, said)
	}
	if code, _, _ := certs("-nonsense"); code != 2 {
		t.Errorf("%d", code)
	}
	if code, _, said := certs("-dir", "/dev/null/x", "node1"); code != 1 || !strings.Contains(said, "/dev/null/x") {
		t.Errorf("%d %s", code, said)
	}
}
