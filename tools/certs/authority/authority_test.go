package authority

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const year = 365 * 24 * time.Hour

func create(t *testing.T) *Authority {
	t.Helper()
	a, err := Create(t.TempDir(), year, false)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes a certificate that is valid now.
func issue(t *testing.T, a *Authority, id string, hosts ...string) {
	t.Helper()
	if _, err := a.Issue(Node{ID: id, Hosts: hosts, From: time.Now().Add(-skew), Valid: 2 * skew}); err != nil {
		t.Fatal(err)
	}
}

// side is the TLS configuration of a node for either role.
func side(t *testing.T, a *Authority, id, peer string) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(CAFile(a.dir))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatal("the authority's certificate is not PEM")
	}
	pair, err := tls.LoadX509KeyPair(CertFile(a.dir, id), KeyFile(a.dir, id))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ServerName: peer,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
}

// handshake connects two nodes and returns what each side says.
func handshake(t *testing.T, server, client *tls.Config) (serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			done <- err
			return
		}
		defer conn.Close()
		done <- tls.Server(conn, server).Handshake()
	}()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	clientErr = tls.Client(conn, client).Handshake()
	conn.Close()
	return <-done, clientErr
}

func TestEveryNodeIsServerAndClientOfEveryOther(t *testing.T) {
	a := create(t)
	issue(t, a, "node1", "127.0.0.1", "[::1]")
	issue(t, a, "node_2.x", "localhost", "10.0.0.1")
	for _, tt := range []struct{ server, client, name string }{
		{"node1", "node_2.x", "node1"},
		{"node_2.x", "node1", "localhost"},
		{"node1", "node_2.x", "127.0.0.1"},
		{"node1", "node1", "::1"},
		{"node_2.x", "node1", "10.0.0.1"},
	} {
		serverErr, clientErr := handshake(t, side(t, a, tt.server, ""), side(t, a, tt.client, tt.name))
		if serverErr != nil || clientErr != nil {
			t.Errorf("%+v: %v, %v", tt, serverErr, clientErr)
		}
	}
	if _, err := handshake(t, side(t, a, "node1", ""), side(t, a, "node1", "node_2.x")); err == nil {
		t.Error("node1 passed for node_2.x")
	}
}

func TestForeignAndExpiredCertificatesAreRefused(t *testing.T) {
	a, other := create(t), create(t)
	issue(t, a, "node1")
	issue(t, other, "node1")
	if _, err := a.Issue(Node{ID: "old", From: time.Now().Add(-2 * year), Valid: year}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Issue(Node{ID: "early", From: time.Now().Add(year / 2), Valid: time.Hour}); err != nil {
		t.Fatal(err)
	}
	good := side(t, a, "node1", "node1")
	foreign := side(t, a, "node1", "node1")
	foreign.Certificates = side(t, other, "node1", "node1").Certificates
	for name, bad := range map[string]*tls.Config{"foreign": foreign, "expired": side(t, a, "old", "node1"), "not yet valid": side(t, a, "early", "node1")} {
		if err, _ := handshake(t, good, bad); err == nil {
			t.Errorf("a client with a certificate that is %s got in", name)
		}
		if _, err := handshake(t, bad, good); err == nil {
			t.Errorf("a server with a certificate that is %s was trusted", name)
		}
	}
}

// TestANodesCertificateSignsNothing: whoever steals a node's key must not be able to make nodes.
func TestANodesCertificateSignsNothing(t *testing.T) {
	a := create(t)
	issue(t, a, "node1")
	pair, err := tls.LoadX509KeyPair(CertFile(a.dir, "node1"), KeyFile(a.dir, "node1"))
	if err != nil {
		t.Fatal(err)
	}
	if pair.Leaf.IsCA || pair.Leaf.KeyUsage&x509.KeyUsageCertSign != 0 || !a.cert.MaxPathLenZero {
		t.Errorf("%+v", pair.Leaf)
	}
}

func TestOpenFindsWhatCreateMade(t *testing.T) {
	a := create(t)
	again, created, err := OpenOrCreate(a.dir, year)
	if err != nil || created || again.Name() != a.Name() {
		t.Fatalf("%v, %v", created, err)
	}
	issue(t, again, "node1")
	issue(t, a, "node2")
	if serverErr, clientErr := handshake(t, side(t, a, "node1", ""), side(t, a, "node2", "node1")); serverErr != nil || clientErr != nil {
		t.Error(serverErr, clientErr)
	}
	fresh, created, err := OpenOrCreate(t.TempDir()+"/a/b", year)
	if err != nil || !created || fresh.Name() == a.Name() {
		t.Errorf("%v, %v", created, err)
	}
}

func TestNothingIsReplacedSilently(t *testing.T) {
	a := create(t)
	issue(t, a, "node1")
	before := contents(t, a.dir)
	if _, err := Create(a.dir, year, false); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the authority: %v", err)
	}
	if _, err := a.Issue(Node{ID: "node1", From: time.Now(), Valid: year}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a node: %v", err)
	}
	if after := contents(t, a.dir); !bytes.Equal(after, before) {
		t.Error("something was replaced")
	}
	expires, err := a.Issue(Node{ID: "node1", From: time.Now(), Valid: 2 * year, Replace: true})
	if err != nil || !expires.Equal(a.cert.NotAfter) {
		t.Errorf("renewed until %v, the authority ends %v: %v", expires, a.cert.NotAfter, err)
	}
	if b, err := Create(a.dir, year, true); err != nil || b.Name() == a.Name() {
		t.Errorf("a new authority: %v", err)
	}
}

// contents is every file of a directory, one after the other.
func contents(t *testing.T, dir string) (all []byte) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(dir + "/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, e.Name()...), text...)
	}
	return all
}

func TestKeysAreForTheirOwnerAlone(t *testing.T) {
	a := create(t)
	issue(t, a, "node1")
	for path, want := range map[string]fs.FileMode{
		KeyFile(a.dir, name): 0o600, KeyFile(a.dir, "node1"): 0o600, CAFile(a.dir): 0o644, CertFile(a.dir, "node1"): 0o644,
	} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	entries, err := os.ReadDir(a.dir)
	if err != nil || len(entries) != 4 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestOpenTellsWhatIsWrong(t *testing.T) {
	empty := t.TempDir()
	if _, err := Open(empty); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	expired := t.TempDir()
	if _, err := Create(expired, -time.Minute, false); err != nil {
		t.Fatal(err)
	}
	node := create(t)
	issue(t, node, "node1")
	copyFile(t, CertFile(node.dir, "node1"), CertFile(node.dir, name))
	copyFile(t, KeyFile(node.dir, "node1"), KeyFile(node.dir, name))
	mixed, other := create(t), create(t)
	copyFile(t, KeyFile(other.dir, name), KeyFile(mixed.dir, name))
	keyless := create(t)
	if err := os.Remove(KeyFile(keyless.dir, name)); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]string{expired: "expired on", node.dir: "is not the certificate of an authority", mixed.dir: "private key does not match", keyless.dir: "no such file"} {
		if _, _, err := OpenOrCreate(dir, year); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	text, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNodesAreChecked(t *testing.T) {
	for _, tt := range []struct {
		id, host, want string
	}{
		{"", "", `node id "": want`},
		{"../ca", "", `node id "../ca": want`},
		{"a/b", "", `node id "a/b": want`},
		{".a", "", `node id ".a": want`},
		{strings.Repeat("x", 64), "", "node id "},
		{"ca", "", `node id "ca": the files of the authority`},
		{"CA", "", `node id "CA": the files of the authority`},
		{"a", " ", `node a: host " " is neither`},
		{"a", "10.0.0.256", `node a: host "10.0.0.256" is neither`},
		{"a", "[::1", ""}, // brackets are an ornament here
		{"a", "127.0.0.1:80", `node a: host "127.0.0.1:80" is neither`},
		{"a", "*.example.org", `node a: host "*.example.org" is neither`},
		{strings.Repeat("x", 63), strings.Repeat("x", 253), ""},
	} {
		n := Node{ID: tt.id, Hosts: []string{tt.host}}
		if tt.host == "" {
			n.Hosts = nil
		}
		if err := n.Check(); tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.want)) {
			t.Errorf("%q %q: %v, want %s", tt.id, tt.host, err, tt.want)
		}
	}
	n := Node{ID: "a", Hosts: make([]string, hostsMax+1)}
	if err := n.Check(); err == nil || err.Error() != "node a has 65 hosts, the limit is 64" {
		t.Error(err)
	}
}

// TestOpenSSLAgrees has another implementation read the files.
func TestOpenSSLAgrees(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("no openssl here: ", err)
	}
	a := create(t)
	issue(t, a, "node1", "127.0.0.1")
	for _, purpose := range []string{"sslserver", "sslclient"} {
		out, err := exec.Command("openssl", "verify", "-x509_strict", "-purpose", purpose, "-CAfile", CAFile(a.dir), CertFile(a.dir, "node1")).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", purpose, err, out)
		}
	}
}
