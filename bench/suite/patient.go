package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// A patient client is one that outlives its cluster's leaders: it asks the node that it believes leads, goes where a
// redirect sends it, and to the next node when one is gone or knows no leader. It does not wait out Retry-After; the longest pause
// is to be the cluster's and not the client's.

const (
	tryMax  = 2 * time.Second      // one node's answer
	tryRest = 2 * time.Millisecond // before the next node
	moves   = 4                    // redirects in a row that are believed
)

// patient is used by one goroutine.
type patient struct {
	client http.Client
	addrs  []string
	at     int // the node to ask
}

func newPatient(addrs []string) *patient {
	return &patient{addrs: addrs, client: http.Client{
		Timeout: tryMax, Transport: &http.Transport{MaxIdleConnsPerHost: 1},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// close ends its connections.
func (p *patient) close() { p.client.CloseIdleConnections() }

// errRefused is a final answer that is no success.
var errRefused = errors.New("refused")

// do asks until somebody answers with success, or refuses for good, or ctx is over.
func (p *patient) do(ctx context.Context, method, target string, body []byte) ([]byte, error) {
	for turn := 0; ; turn++ {
		text, moved, err := p.once(ctx, method, target, body)
		if err == nil || errors.Is(err, errRefused) {
			return text, err
		}
		if moved && turn%moves < moves-1 {
			continue
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(tryRest):
		}
	}
}

// once asks one node. After an error p.at is the node to ask next; moved tells that it was named.
func (p *patient) once(ctx context.Context, method, target string, body []byte) (text []byte, moved bool, err error) {
	here := p.at
	status, location, text, err := p.exchange(ctx, method, target, body)
	switch {
	case err != nil:
	case status == http.StatusTemporaryRedirect:
		if i := slices.Index(p.addrs, hostOf(location)); i >= 0 && i != here {
			p.at = i
			return nil, true, fmt.Errorf("redirected to %s", location)
		}
		err = fmt.Errorf("redirected to %q", location)
	case status < 300:
		return text, false, nil
	case status < 500 && status != http.StatusTooManyRequests:
		return text, false, fmt.Errorf("%w: %s %s: %d %s", errRefused, method, target, status, text)
	default:
		err = fmt.Errorf("%s %s: %d %s", method, target, status, text)
	}
	p.at = (here + 1) % len(p.addrs)
	return nil, false, err
}

// exchange is one request and its answer.
func (p *patient) exchange(ctx context.Context, method, target string, body []byte) (status int, location string, text []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+p.addrs[p.at]+target, bytes.NewReader(body))
	if err != nil {
		return 0, "", nil, err
	}
	request.Header.Set("Authorization", "Bearer dev")
	response, err := p.client.Do(request)
	if err != nil {
		return 0, "", nil, err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	return response.StatusCode, response.Header.Get("Location"), text, err
}

// hostOf is the host:port of a URL.
func hostOf(location string) string {
	u, err := url.Parse(location)
	if err != nil {
		return ""
	}
	return u.Host
}
