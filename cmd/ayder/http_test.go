package main

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
)

// HTTP as clients meet it: pipelines, methods, versions, tokens, TLS. The syntax of requests is h1check's
// part and httpparse's.

// Answers come in request order, whatever takes how long: a produce waits for the disk, a large page is made
// on another thread, an error is known at once. Each call sees the effect of those before it.
func TestPipelinedAnswersComeInOrder(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		mustProduce(t, c, "pipe", 0, []byte("m0"))
		const rounds = 40
		var all []byte
		for i := 1; i <= rounds; i++ {
			all = appendRound(all, c, i)
		}
		sent := make(chan error, 1)
		go func() { sent <- c.Send(all) }()
		for i := 1; i <= rounds; i++ {
			mustReceiveRound(t, c, i)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	})
}

// appendRound appends seven requests; the produced message is number i of the partition.
func appendRound(b []byte, c *proc.Client, i int) []byte {
	b = c.AppendRequest(b, "POST", "/broker/topics/pipe/produce?partition=0", fmt.Appendf(nil, "m%d", i))
	b = c.AppendRequest(b, "GET", fmt.Sprintf("/broker/consume/pipe/g/0?offset=%d", i), nil)
	b = c.AppendRequest(b, "GET", "/nowhere", nil)
	b = c.AppendRequest(b, "HEAD", "/health", nil)
	b = c.AppendRequest(b, "POST", "/broker/topics/pipe/produce-ndjson?partition=1", []byte("{"))
	b = c.AppendRequest(b, "POST", fmt.Sprintf("/broker/topics/pipe/produce?partition=1&idempotency_key=k%d", i/2), []byte("twice"))
	return c.AppendRequest(b, "GET", "/metrics", nil)
}

func mustReceiveRound(t *testing.T, c *proc.Client, i int) {
	t.Helper()
	for _, want := range []struct {
		method string
		status int
		text   string
	}{
		{"POST", 200, fmt.Sprintf(`"offset":%d,`, i)},
		{"GET", 200, fmt.Sprintf(`"value":"m%d"`, i)},
		{"GET", 404, "not_found"},
		{"HEAD", 200, ""},
		{"POST", 400, "bad_ndjson"},
		{"POST", 200, fmt.Sprintf(`"offset":%d,`, i/2)},
		{"GET", 200, "# TYPE"},
	} {
		r, err := c.Receive(want.method)
		if err != nil || r.Status != want.status || !strings.Contains(string(r.Body), want.text) {
			t.Fatalf("round %d, %s: %s, %v; want %d with %s", i, want.method, r.String(), err, want.status, want.text)
		}
	}
}

func TestHeadHasTheHeaderOfGet(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	c := s.Connect(t)
	mustProduce(t, c, "headed", 0, []byte("x"))
	for _, target := range []string{"/health", "/ready", "/broker/topics", "/broker/topics/headed", "/broker/consume/headed/g/0?offset=0", "/docs/errors", "/nowhere"} {
		get, err := c.Get(target)
		if err != nil {
			t.Fatal(err)
		}
		head, err := c.Do("HEAD", target, nil)
		if err != nil {
			t.Fatal(err)
		}
		if head.Status != get.Status || head.Header.Get("Content-Length") != fmt.Sprint(len(get.Body)) ||
			head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("HEAD %s: %d %v; GET: %d %v", target, head.Status, head.Header, get.Status, get.Header)
		}
	}
}

func TestMethodsThatAreNotThere(t *testing.T) {
	s := proc.Run(t, proc.Options{})
	c := s.Connect(t)
	for _, call := range []struct {
		method, target string
		status         int
		allow          string
	}{
		{"DELETE", "/health", 405, "GET"},
		{"POST", "/health", 405, "GET"},
		{"GET", "/broker/topics/x/produce", 405, "POST"},
		{"PUT", "/broker/topics", 405, "POST"},
		{"BREW", "/health", 405, "GET"},
		{"OPTIONS", "/health", 204, "GET"},
		{"OPTIONS", "/broker/topics", 204, "POST"},
		{"OPTIONS", "*", 204, ""},
		{"GET", "/broker/topics/", 400, ""},
		{"GET", "/broker", 404, ""},
		{"GET", "/health/", 404, ""},
	} {
		r, err := c.Do(call.method, call.target, nil)
		if err != nil {
			t.Fatalf("%s %s: %v", call.method, call.target, err)
		}
		if r.Status != call.status || !strings.Contains(r.Header.Get("Allow"), call.allow) {
			t.Errorf("%s %s: %s, Allow %q; want %d", call.method, call.target, r.String(), r.Header.Get("Allow"), call.status)
		}
		if r.Header.Get("Connection") == "close" {
			c = s.Connect(t)
		}
	}
}

func TestHTTP10(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		for _, version := range []struct {
			request string
			stays   bool
		}{
			{"GET /health HTTP/1.0\r\n\r\n", false},
			{"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
			{"GET /health HTTP/1.1\r\nHost: h\r\n\r\n", true},
			{"GET /health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false},
		} {
			c := s.Connect(t)
			if err := c.Send([]byte(version.request)); err != nil {
				t.Fatal(err)
			}
			if r, err := c.Receive("GET"); err != nil || r.Status != 200 {
				t.Fatalf("%q: %s, %v", version.request, r.String(), err)
			}
			if version.stays {
				if err := c.Send([]byte(version.request)); err != nil {
					t.Fatal(err)
				}
				if r, err := c.Receive("GET"); err != nil || r.Status != 200 {
					t.Errorf("%q again: %s, %v", version.request, r.String(), err)
				}
				continue
			}
			if r, err := c.Receive("GET"); !errors.Is(err, io.EOF) {
				t.Errorf("%q: the connection stays open: %s, %v", version.request, r.String(), err)
			}
		}
	})
}

func TestExpectContinue(t *testing.T) {
	eachBackend(t, func(t *testing.T, o proc.Options) {
		s := proc.Run(t, o)
		c := s.Connect(t)
		head := "POST /broker/topics/expect/produce?partition=0 HTTP/1.1\r\n" + c.Header + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
		for i := range 3 {
			if err := c.Send([]byte(head)); err != nil {
				t.Fatal(err)
			}
			interim := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
			if err := c.Conn.SetReadDeadline(time.Now().Add(proc.HangGuard)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c.Conn, interim); err != nil || !bytes.HasPrefix(interim, []byte("HTTP/1.1 100 ")) {
				t.Fatalf("%q, %v", interim, err)
			}
			if err := c.Send([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			if r, err := c.Receive("POST"); err != nil || r.Status != 200 {
				t.Fatalf("request %d: %s, %v", i, r.String(), err)
			}
		}
	})
}

// withToken returns the client with another Authorization.
func withToken(c *proc.Client, addr, authorization string) *proc.Client {
	c.Header = "Host: " + addr + "\r\n"
	if authorization != "" {
		c.Header += "Authorization: " + authorization + "\r\n"
	}
	return c
}

func TestTokensAndRoles(t *testing.T) {
	s := proc.Run(t, proc.Options{Env: []string{"RF_BEARER_TOKENS=reader@read:writer@write/orders:both@read+write:root"}})
	const produce, list, create = "POST /broker/topics/orders-1/produce?partition=0", "GET /broker/topics", "POST /broker/topics"
	for _, c := range []struct {
		authorization, call string
		status              int
	}{
		{"Bearer root", create, 201},
		{"Bearer root", produce, 200},
		{"", list, 401},
		{"Bearer dev", list, 401},
		{"Bearer ", list, 401},
		{"Bearer rootroot", list, 401},
		{"Digest root", list, 401},
		{"Bearer reader", list, 200},
		{"Bearer reader", produce, 403},
		{"Bearer reader", create, 403},
		{"Bearer both", create, 403},
		{"Bearer both", produce, 200},
		{"Bearer writer", produce, 200},
		{"Bearer writer", "POST /broker/topics/other/produce?partition=0", 403},
		{"Bearer writer", list, 403},
		{"bearer root", list, 200},
		{"Basic YW55Ym9keTpyb290", list, 200}, // anybody:root
		{"Basic YW55Ym9keTp3cm9uZw==", list, 401},
		{"", "GET /health", 200},
		{"", "GET /ready", 200},
		{"", "GET /metrics", 401},
		{"Bearer reader", "GET /metrics", 200},
		{"Bearer wrong", "GET /health", 200},
	} {
		method, target, _ := strings.Cut(c.call, " ")
		body := []byte(nil)
		if c.call == create {
			body = []byte(`{"name":"orders-1","partitions":2}`)
		}
		r, err := withToken(s.Connect(t), s.Addr, c.authorization).Do(method, target, body)
		if err != nil || r.Status != c.status {
			t.Errorf("%q %s: %s, %v; want %d", c.authorization, c.call, r.String(), err, c.status)
		}
		if r.Status == 401 && r.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%q %s: 401 without WWW-Authenticate", c.authorization, c.call)
		}
	}
	for _, secret := range []string{"reader", "writer", "both", "rootroot"} {
		if strings.Contains(s.Log(), secret) {
			t.Errorf("the token %q is in the log: %s", secret, s.Log())
		}
	}
}

// A token that is taken away stops working on connections that have used it.
func TestTokensAreReadAgainOnSIGHUP(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first@read\n")
	s := proc.Run(t, proc.Options{Args: []string{"--bearer-tokens-file", file}})
	first, second := withToken(s.Connect(t), s.Addr, "Bearer first"), withToken(s.Connect(t), s.Addr, "Bearer second")
	mustAnswer(t, first, 200)
	mustAnswer(t, second, 401)
	write("second@read\n")
	hangUp(t, s, "tokens read again")
	mustAnswer(t, first, 401)
	mustAnswer(t, second, 200)
	write("third@reda\n")
	hangUp(t, s, "not taken over")
	mustAnswer(t, second, 200)
}

// hangUp sends SIGHUP and waits until the log says a thing once more.
func hangUp(t *testing.T, s *proc.Server, said string) {
	t.Helper()
	before := strings.Count(s.Log(), said)
	if err := s.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); strings.Count(s.Log(), said) == before; time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > proc.HangGuard {
			t.Fatalf("the log does not say %q:\n%s", said, s.Log())
		}
	}
}

func mustAnswer(t *testing.T, c *proc.Client, status int) {
	t.Helper()
	if r, err := c.Get("/broker/topics"); err != nil || r.Status != status {
		t.Fatalf("%s, %v; want %d", r.String(), err, status)
	}
}

// The TLS listener feeds the same handler.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	roots := certificate(t, dir)
	eachBackendAtOnce(t, func(t *testing.T, o proc.Options) {
		port := freePort(t)
		o.Env = []string{"RF_TLS_CERT=" + filepath.Join(dir, "cert.pem"), "RF_TLS_KEY=" + filepath.Join(dir, "key.pem")}
		o.Args = []string{"--tls-listen", fmt.Sprintf("127.0.0.1:%d", port)}
		s := proc.Run(t, o)
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: proc.HangGuard}
		defer client.CloseIdleConnections()
		base := fmt.Sprintf("https://127.0.0.1:%d/broker/", port)
		body := counted(1, 3_000_000)
		if status, text := overTLS(t, client, "POST", base+"topics/secret/produce?partition=0", body); status != 200 {
			t.Fatalf("%d %s", status, text)
		}
		mustFind(t, s.Connect(t), "secret", 0, 0, body) // what came in by TLS goes out plain, and the other way round
		mustProduce(t, s.Connect(t), "secret", 0, []byte("plain"))
		status, text := overTLS(t, client, "GET", base+"consume/secret/g/0?offset=1", nil)
		if status != 200 || !strings.Contains(text, `"value":"plain"`) {
			t.Errorf("%d %s", status, text)
		}
		mustRefusePlain(t, port)
		mustStop(t, s)
	})
}

func overTLS(t *testing.T, client *http.Client, method, url string, body []byte) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer dev")
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// mustRefusePlain shows that plain HTTP to the TLS port gets no answer of the broker.
func mustRefusePlain(t *testing.T, port int) {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(proc.HangGuard)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /health HTTP/1.1\r\nHost: h\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(c).ReadString('\n'); strings.Contains(line, "200") {
		t.Errorf("plain HTTP on the TLS port: %q", line)
	}
}

// certificate writes a self-signed one for 127.0.0.1 and returns a pool that trusts it.
func certificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ayder test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}
