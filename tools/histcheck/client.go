package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"ayder/internal/testkit/proc"
)

// A caller is one client's way to the cluster: a connection per node, redirects followed by itself, and a judgement
// of every answer: did it take effect, did it certainly not, or can nobody say. The judgement leans to "unknown":
// only answers that promise to be without effect count as refused, because the audit holds the server to that.
//
//	no connection, 429, 507, 503 but leadership_lost    refused
//	200, 201                                            ok
//	412, 416; 404 and 409 of a key                      declined, with the state it was judged by
//	404 on a follower                                   refused: it has not heard of the topic yet
//	500, 504, 503 leadership_lost, a broken connection  unknown
//	anything else                                       unknown, and a fault

// caller is for one goroutine.
type caller struct {
	dial   func(address string) (*proc.Client, error)
	conns  map[string]*proc.Client
	shun   map[string]time.Time // a node that did not answer is left alone until then
	faults *shared
}

func newCaller(dial func(string) (*proc.Client, error), f *shared) *caller {
	return &caller{dial: dial, conns: make(map[string]*proc.Client), shun: make(map[string]time.Time), faults: f}
}

func (c *caller) close() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// connect returns the connection to a node.
func (c *caller) connect(address string) (*proc.Client, error) {
	if conn := c.conns[address]; conn != nil {
		return conn, nil
	}
	conn, err := c.dial(address)
	if err != nil {
		return nil, err
	}
	conn.Timeout = requestWait
	c.conns[address] = conn
	return conn, nil
}

func (c *caller) drop(address string) {
	if conn := c.conns[address]; conn != nil {
		conn.Close()
		delete(c.conns, address)
	}
}

// ask sends one request to a node and follows redirects. The answer is valid unless the outcome is refused or
// unknown.
func (c *caller) ask(address, method, target string, body []byte) (proc.Response, outcome) {
	for range redirectsMax {
		conn, err := c.connect(address)
		if err != nil {
			return proc.Response{}, outcomeRefused
		}
		r, err := conn.Do(method, target, body)
		if err != nil {
			c.drop(address)
			c.shun[address] = time.Now().Add(shunFor)
			return r, outcomeUnknown
		}
		if strings.EqualFold(r.Header.Get("Connection"), "close") {
			c.drop(address)
		}
		if r.Status != 307 {
			return r, c.judge(address, target, &r)
		}
		if address, err = elsewhere(&r, target); err != nil {
			c.faults.addf("redirect of %s: %v", target, err)
			return r, outcomeRefused
		}
	}
	return proc.Response{}, outcomeRefused // nodes that send one another the client: no leader for the moment
}

// judge tells what an answer means.
func (c *caller) judge(address, target string, r *proc.Response) outcome {
	switch {
	case r.Status == 200 || r.Status == 201:
		return outcomeOK
	case r.Status == 412 || r.Status == 416 || strings.HasPrefix(target, "/kv/") && (r.Status == 404 || r.Status == 409):
		return outcomeFailed
	case r.Status == 503 && r.ErrorCode() != "leadership_lost", r.Status == 429, r.Status == 507:
		return outcomeRefused
	case r.Status == 404 && !strings.Contains(target, "produce"):
		return outcomeRefused
	case r.Status != 500 && r.Status != 503 && r.Status != 504:
		c.faults.addf("%s answers %s with %s", address, target, r)
	}
	return outcomeUnknown
}

// elsewhere is the address of the node that a redirect names. It must name the same resource.
func elsewhere(r *proc.Response, target string) (string, error) {
	location := r.Header.Get("Location")
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "http" || u.Host == "" {
		return "", fmt.Errorf("location %q", location)
	}
	if u.RequestURI() != target {
		return "", fmt.Errorf("location %q is not for %q", location, target)
	}
	return u.Host, nil
}
