package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Who leads: every member knows, and also knows its own id. Asked over connections of their own, before and after
// the load.

// Waiting times.
const (
	dialMax      = 10 * time.Second
	leaderMax    = 30 * time.Second // for an election
	electionStep = 50 * time.Millisecond
)

// errNoLeader is no failure until it lasts.
var errNoLeader = errors.New("no member leads")

// awaitLeader is the leader's index in addrs.
func awaitLeader(ctx context.Context, addrs []string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderMax)
	defer cancel()
	for {
		i, err := findLeader(ctx, addrs)
		if err == nil {
			return i, nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("find the leader: %w", err)
		case <-time.After(electionStep):
		}
	}
}

// findLeader asks every member once.
func findLeader(ctx context.Context, addrs []string) (int, error) {
	err := errNoLeader
	for i, addr := range addrs {
		leads, failed := isLeader(ctx, addr)
		if leads {
			return i, nil
		}
		if failed != nil {
			err = failed
		}
	}
	return 0, err
}

// isLeader asks one member.
func isLeader(ctx context.Context, addr string) (bool, error) {
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialTimeout: dialMax})
	if err != nil {
		return false, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, dialMax)
	defer cancel()
	s, err := c.Status(ctx, addr)
	if err != nil {
		return false, err
	}
	return s.Leader != 0 && s.Leader == s.Header.MemberId, nil
}
