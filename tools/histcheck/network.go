package main

import (
	"fmt"

	"ayder/internal/testkit/proc"
)

// A network is where nodes and clients live. There are two: namespaces, where what one node sends to another can be
// dropped (netns_linux.go), and the loopback interface, where it cannot.

// network says where nodes live, how to start a process there and how to reach it.
type network interface {
	endpoint(node int) endpoint
	wrap(node int) []string                    // words before a command that is to run as this node
	dial(address string) (*proc.Client, error) // from where the clients are
	cut(links []link) error                    // drops what goes along these links, and nothing else any more
	faults() []faultKind                       // what cut can be used for
	close() error
}

// endpoint is a node's address.
type endpoint struct {
	host string
	http int
	raft int
}

func (e endpoint) address() string { return fmt.Sprintf("%s:%d", e.host, e.http) }

// loopback is a network of ports on 127.0.0.1.
type loopback []endpoint

func newLoopback(nodes int) (loopback, error) {
	l := make(loopback, nodes)
	for i := range l {
		l[i].host = "127.0.0.1"
		for _, port := range []*int{&l[i].http, &l[i].raft} {
			var err error
			if *port, err = proc.FreePort(); err != nil {
				return nil, err
			}
		}
	}
	return l, nil
}

func (l loopback) endpoint(node int) endpoint              { return l[node] }
func (loopback) wrap(int) []string                         { return nil }
func (loopback) dial(address string) (*proc.Client, error) { return proc.Dial(address) }
func (loopback) cut([]link) error                          { return nil }
func (loopback) faults() []faultKind                       { return nil }
func (loopback) close() error                              { return nil }
