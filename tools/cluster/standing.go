package main

// Who leads is asked of the nodes themselves, by the two lines of /metrics_ha that scripts have always read:
//
//	ramforge_ha_role 0
//	ramforge_ha_term 7
//
// For a moment two nodes may both believe that they lead, the old one not knowing better yet; the higher term is right.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

// standing is what a node says about itself.
type standing struct {
	role string // "0" leads
	term uint64
}

// leads is ramforge_ha_role of a leader.
const leads = "0"

// ask asks one node.
func ask(ctx context.Context, client *http.Client, m *member) (s standing, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.httpAddr()+"/metrics_ha", nil)
	if err != nil {
		return s, err
	}
	r.Header.Set("Authorization", "Bearer dev")
	answer, err := client.Do(r)
	if err != nil {
		return s, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(answer.Body, metricsBytes))
	if err != nil {
		return s, err
	}
	if answer.StatusCode != http.StatusOK {
		return s, fmt.Errorf("%s answers %s", r.URL, answer.Status)
	}
	return readStanding(string(text))
}

var errStanding = errors.New("no ramforge_ha_role and ramforge_ha_term in the answer")

// readStanding finds the two lines.
func readStanding(text string) (s standing, err error) {
	term := ""
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch name, _, _ = strings.Cut(name, "{"); name {
		case "ramforge_ha_role":
			s.role = value
		case "ramforge_ha_term":
			term = value
		}
	}
	if s.term, err = strconv.ParseUint(term, 10, 64); err != nil || s.role == "" {
		return standing{}, errStanding
	}
	return s, nil
}

// leader returns who leads and in which term, nil if nobody does or nobody answers.
func leader(ctx context.Context, client *http.Client, members []*member) (*member, uint64) {
	standings := make([]standing, len(members))
	var asked sync.WaitGroup
	for i, m := range members {
		if m.ended() {
			continue
		}
		asked.Go(func() {
			if s, err := ask(ctx, client, m); err == nil {
				standings[i] = s
			}
		})
	}
	asked.Wait()
	best := -1
	for i, s := range standings {
		if s.role == leads && (best < 0 || s.term > standings[best].term) {
			best = i
		}
	}
	if best < 0 {
		return nil, 0
	}
	return members[best], standings[best].term
}
