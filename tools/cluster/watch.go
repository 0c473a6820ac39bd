package main

// The watcher looks at everything a few times a second and prints what has changed since the last time: processes that
// ended, another leader. The cluster is up with its first leader; a node that ends before means that it cannot start, one that
// ends later is part of the show.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// watcher prints what happens.
type watcher struct {
	o       *options
	members []*member
	out     io.Writer
	client  *http.Client

	leader *member
	term   uint64
	greet  bool // the addresses are printed
	gone   map[*member]bool
}

var errAllGone = errors.New("all nodes have ended")

// watch returns at a signal, or with an error when no node is left, or when one ended before the cluster was up.
func (w *watcher) watch(signals <-chan os.Signal) error {
	w.gone = make(map[*member]bool)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		if err := w.look(ctx); err != nil {
			return err
		}
		select {
		case <-signals:
			return nil
		case <-tick.C:
		}
	}
}

// look prints what has changed since the last time.
func (w *watcher) look(ctx context.Context) error {
	for _, m := range w.members {
		if !m.ended() || w.gone[m] {
			continue
		}
		w.gone[m] = true
		fmt.Fprintf(w.out, "%s (pid %d) has ended: %s; it said last:\n%s\n", m.id, m.pid(), how(m.err), m.lastWords())
		switch {
		case len(w.gone) == len(w.members):
			return errAllGone
		case !w.greet:
			return fmt.Errorf("%s ended before the cluster was up", m.id)
		}
	}
	leader, term := leader(ctx, w.client, w.members)
	if leader == w.leader && term == w.term {
		return nil
	}
	w.leader, w.term = leader, term
	switch {
	case leader == nil:
		fmt.Fprintln(w.out, "no node leads")
	case !w.greet:
		w.greet = true
		w.introduce()
	default:
		fmt.Fprintf(w.out, "%s leads, term %d\n", leader.id, term)
	}
	return nil
}

// how says how a process ended.
func how(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// introduce says where everything is, once there is a leader.
func (w *watcher) introduce() {
	security := "mutual TLS between the nodes"
	if !w.o.tls {
		security = "no TLS between the nodes"
	}
	fmt.Fprintf(w.out, "%d nodes, %s, token dev; data and logs in %s\n\n", len(w.members), security, w.o.dir)
	for _, m := range w.members {
		role := ""
		if m == w.leader {
			role = fmt.Sprintf("  leads, term %d", w.term)
		}
		fmt.Fprintf(w.out, "  %s  http://%s  raft %s  pid %d%s\n", m.id, m.httpAddr(), m.raftAddr(), m.pid(), role)
	}
	fmt.Fprintf(w.out, `
write through any node (a follower redirects to the leader, --location-trusted keeps the token), read from any:

  curl -s --location-trusted -H 'Authorization: Bearer dev' --data hello 'http://%[1]s/broker/topics/greetings/produce?partition=0'
  curl -s -H 'Authorization: Bearer dev' 'http://%[1]s/broker/consume/greetings/readers/0'
  curl -s -H 'Authorization: Bearer dev' -H 'Accept: application/json' 'http://%[1]s/metrics_ha'

kill -9 %[2]d shows what happens when the leader dies; ^C ends all
`, w.members[len(w.members)-1].httpAddr(), w.leader.pid())
}
