package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"ayder/internal/testkit/proc"
	"ayder/tools/certs/authority"
)

// Clients that speak TLS with a cluster. They are never sent to a plain port.

// serveHTTPS has a node serve TLS beside plain HTTP, and tell nobody where but by its own RF_HA_NODES.
func (n *groupNode) serveHTTPS(t *testing.T, a *authority.Authority, dir string) {
	t.Helper()
	n.https = freeAddr(t)
	issue(t, a, n.id, time.Now().Add(-time.Hour), 24*time.Hour)
	for i, text := range n.options.Env {
		n.options.Env[i] = strings.Replace(text, fmt.Sprintf(":%d", n.options.Port), fmt.Sprintf(":%d:%d", n.options.Port, portOf(n.https)), 1)
	}
	n.options.Env = append(n.options.Env, "RF_TLS_CERT="+authority.CertFile(dir, n.id), "RF_TLS_KEY="+authority.KeyFile(dir, n.id))
}

// httpsClient trusts the authority, and follows redirects, or shows them.
func httpsClient(t *testing.T, dir string, follow bool) *http.Client {
	t.Helper()
	text, err := os.ReadFile(authority.CAFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	c := &http.Client{Timeout: proc.HangGuard, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	if !follow {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return c
}

// post asks with the dev token and returns the answer, with its body read.
func post(t *testing.T, c *http.Client, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer dev")
	r, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(text)
}

// n1 serves no TLS, n2 and n3 do. Whoever came to n3 over TLS gets to n2, when that leads, over TLS, and is refused when n1 does.
func TestRedirectsOverTLS(t *testing.T) {
	t.Parallel()
	eachBackend(t, func(t *testing.T, o proc.Options) {
		o.Args = append(o.Args, "--raft-priority-hold-ms", "3600000")
		g := newGroup(t, 3, o)
		dir := t.TempDir()
		a := mustAuthority(t, dir)
		plain, leader, follower := g.nodes[0], g.nodes[1], g.nodes[2]
		leader.serveHTTPS(t, a, dir)
		follower.serveHTTPS(t, a, dir)
		g.start(g.nodes...)
		const target = "/broker/topics/secure/produce?partition=0&key=a%20b"
		url := "https://" + follower.https + target

		g.under(leader, func() error {
			shown, text := post(t, httpsClient(t, dir, false), url, "x")
			if want := "https://" + leader.https + target; shown.StatusCode != 307 || shown.Header.Get("Location") != want || !strings.Contains(text, leader.https) {
				return fmt.Errorf("%s, Location %q, want %q: %s", shown.Status, shown.Header.Get("Location"), want, text)
			}
			r, text := post(t, httpsClient(t, dir, true), url, "over TLS")
			if r.StatusCode != 200 || r.Request.URL.Host != leader.https || !strings.Contains(text, `"durable":true`) {
				return fmt.Errorf("followed to %s: %s %s", r.Request.URL, r.Status, text)
			}
			if r, err := follower.ask("POST", target, []byte("x")); err != nil || r.Header.Get("Location") != "http://"+leader.http+target {
				return fmt.Errorf("a plain client: %s, Location %q, %w", &r, r.Header.Get("Location"), err)
			}
			if s, err := follower.status(); err != nil || s.Leader == nil || s.Leader.HTTPS != leader.https {
				return fmt.Errorf("/metrics_ha: %+v, %w", s, err)
			}
			return nil
		})
		g.under(plain, func() error {
			r, text := post(t, httpsClient(t, dir, false), url, "x")
			if r.StatusCode != 503 || r.Header.Get("Location") != "" || !strings.Contains(text, "leader_without_tls") || !strings.Contains(text, "https_port") {
				return fmt.Errorf("a leader without TLS: %s, Location %q: %s", r.Status, r.Header.Get("Location"), text)
			}
			return nil
		})
		g.holds(follower, "secure", 0, 1)
	})
}
