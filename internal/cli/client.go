package cli

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// The HTTP side: one request with its redirects and repetitions. net/http's own redirects are off, because they drop the
// token when the host changes, which between the nodes of a cluster it does; a redirect from https to http is not
// followed, because that would show the token.

// call is one request.
type call struct {
	method string
	path   string // escaped
	query  url.Values
	body   []byte
	header map[string]string
	repeat bool // a second time would change nothing
}

// answerError is an answer that is not a success.
type answerError struct {
	Status  int
	Code    string `json:"error"`
	Message string `json:"message"`
}

func (e *answerError) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("HTTP %d: %s", e.Status, e.Message)
	}
	return fmt.Sprintf("%s (%d %s)", e.Message, e.Status, e.Code)
}

// client sends requests to one of several servers, the one that answered last first.
type client struct {
	servers []*url.URL
	token   string
	retry   time.Duration // how long to go on trying
	http    *http.Client
	notice  func(format string, args ...any) // told of repetitions
}

// newClient returns a client for comma-separated server URLs; caFile may be empty.
func newClient(servers, token, caFile string, retry time.Duration, notice func(string, ...any)) (*client, error) {
	c := &client{token: token, retry: retry, notice: notice}
	for s := range strings.SplitSeq(servers, ",") {
		if !strings.Contains(s, "://") {
			s = "http://" + s
		}
		u, err := url.Parse(strings.TrimSuffix(s, "/"))
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, usagef("--server %q is not a URL like http://host:port", s)
		}
		c.servers = append(c.servers, u)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: keyWorkers, DialContext: (&net.Dialer{Timeout: requestTimeout}).DialContext}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, usagef("--ca: %v", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, usagef("--ca %s holds no certificate", caFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return c, nil
}

// do sends a call, again and again if it must, and returns the body of a good answer.
func (c *client) do(ctx context.Context, q call) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, c.retry+requestTimeout)
	defer cancel()
	resp, err := c.open(ctx, q)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	return body, resp.Header, nil
}

// open is do for an answer that is read as it comes; the caller closes its body.
func (c *client) open(ctx context.Context, q call) (*http.Response, error) {
	until, pause := time.Now().Add(c.retry), retryPauseMin
	for {
		resp, err := c.try(ctx, q)
		again, wait := q.mayRepeat(err)
		if err == nil || !again || time.Now().Add(max(wait, pause)).After(until) {
			return resp, err
		}
		c.notice("trying again: %v", err)
		c.servers = append(c.servers[1:], c.servers[0])
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(max(wait, pause)):
		}
		pause = min(2*pause, retryPauseMax)
	}
}

// retryable is an error with the time that the server wants to be left alone.
type retryable struct {
	error
	after time.Duration
}

func (r retryable) Unwrap() error { return r.error }

// mayRepeat tells whether a failed call may be made again, and how long to wait at least.
func (q *call) mayRepeat(err error) (bool, time.Duration) {
	var r retryable
	var op *net.OpError
	var answer *answerError
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return false, 0
	case errors.As(err, &r):
		return true, r.after
	case errors.As(err, &op) && op.Op == "dial":
		return true, 0 // nothing was sent
	case errors.As(err, &answer):
		return q.repeat && (answer.Status == 503 || answer.Status == 504), 0
	}
	return q.repeat, 0
}

// try sends a call once, to wherever redirects lead.
func (c *client) try(ctx context.Context, q call) (*http.Response, error) {
	target := *c.servers[0]
	target.Path, target.RawPath = "", ""
	at := target.String() + q.path
	if len(q.query) > 0 {
		at += "?" + q.query.Encode()
	}
	for range redirectsMax {
		resp, err := c.send(ctx, q, at)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 300 {
			return resp, nil
		}
		location, err := resp.Location()
		if resp.StatusCode != http.StatusTemporaryRedirect || err != nil {
			return nil, answerOf(resp)
		}
		resp.Body.Close()
		if location.Scheme == "http" && strings.HasPrefix(at, "https:") {
			return nil, fmt.Errorf("the server redirects from https to %s: the token is not sent there", location)
		}
		at = location.String()
	}
	return nil, fmt.Errorf("more than %d redirects", redirectsMax)
}

func (c *client) send(ctx context.Context, q call, at string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, q.method, at, bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	for name, value := range q.header {
		req.Header[name] = []string{value} // as it is spelt: a message header keeps its name
	}
	return c.http.Do(req)
}

// answerOf makes an error of an answer that is not a success.
func answerOf(resp *http.Response) error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax))
	e := &answerError{Status: resp.StatusCode}
	if json.Unmarshal(body, e) != nil || e.Code == "" {
		e.Message = string(body[:min(len(body), errorBytesMax)])
	}
	after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	switch {
	case e.Code == "leadership_lost" || e.Code == "commit_timeout": // it may have happened
		return e
	case e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable:
		return retryable{e, time.Duration(after) * time.Second}
	}
	return e
}
