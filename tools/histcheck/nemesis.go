package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// The nemesis carries out a plan: it finds the node that a step is about, makes the fault, holds it, and takes it
// back. What it did is printed as it happens, because which node it was does not follow from the seed. At the end
// everything is mended, whether it was broken or not.

// nemesis makes faults.
type nemesis struct {
	cluster *cluster
	out     io.Writer
	began   time.Time

	mu   sync.Mutex
	made map[faultKind]int
}

// play carries out one track. Faults that cannot be made are errors of the tool.
func (n *nemesis) play(steps []step) error {
	for _, s := range steps {
		time.Sleep(time.Until(n.began.Add(s.at)))
		undo, err := n.strike(s)
		if err != nil {
			return fmt.Errorf("%s: %w", s.kind, err)
		}
		time.Sleep(s.hold)
		if err := undo(); err != nil {
			return fmt.Errorf("taking back %s: %w", s.kind, err)
		}
	}
	return nil
}

// find chooses the node that a step is about.
func (n *nemesis) find(s step) (node int, text string) {
	random := rand.New(rand.NewPCG(s.pick, 0))
	count := len(n.cluster.nodes)
	leader := n.cluster.leader()
	node = random.IntN(count)
	if leader >= 0 {
		switch s.target {
		case targetLeader:
			node = leader
		case targetFollower:
			node = without(random.Perm(count), leader)[0]
		}
	}
	role := "follower"
	if leader < 0 {
		role = "no leader known"
	} else if node == leader {
		role = "leader"
	}
	return node, fmt.Sprintf("%s (%s)", name(node), role)
}

func nothing() error { return nil }

// strike makes one fault; undo takes it back.
func (n *nemesis) strike(s step) (undo func() error, err error) {
	node, text := n.find(s)
	c := n.cluster
	undo = func() error { return c.start(node) }
	switch s.kind {
	case faultKill:
		err = c.kill(node)
	case faultStop:
		err = c.stop(node)
	case faultKillAll:
		text = "all nodes"
		undo = nothing
		err = n.killAll()
	case faultPause:
		undo = func() error { return c.signal(node, syscall.SIGCONT) }
		err = c.signal(node, syscall.SIGSTOP)
	case faultMove:
		undo = nothing
		text = fmt.Sprintf("to %s: %s", text, c.transfer(node))
	case faultSlow:
		writes := slowWrites[s.pick%uint64(len(slowWrites))]
		text = fmt.Sprintf("%s, %d writes a second", text, writes)
		undo = func() error { return c.slow.limit(node, 0) }
		err = c.slow.limit(node, writes)
	default:
		links := s.cut(node, len(c.nodes))
		text += " " + describe(links)
		undo = func() error { return c.net.cut(nil) }
		err = c.net.cut(links)
	}
	n.note(s.kind)
	say(n.out, n.began, "%-8s %s for %v", s.kind, text, s.hold.Round(time.Millisecond))
	return undo, err
}

func (n *nemesis) killAll() error {
	err := n.cluster.each(n.cluster.kill)
	time.Sleep(restartGap)
	return errors.Join(err, n.cluster.each(n.cluster.start))
}

func (n *nemesis) note(k faultKind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.made[k]++
}

// describe lists links, "1→2 2→1".
func describe(links []link) (text string) {
	for i, l := range links {
		if i > 0 {
			text += " "
		}
		text += fmt.Sprintf("%d→%d", l.from+1, l.to+1)
	}
	return text
}

// mend takes everything back that may still be there.
func (n *nemesis) mend() error {
	c := n.cluster
	errs := []error{c.net.cut(nil)}
	errs = append(errs, c.each(func(node int) error {
		if c.slow != nil {
			if err := c.slow.limit(node, 0); err != nil {
				return err
			}
		}
		return errors.Join(c.signal(node, syscall.SIGCONT), c.revive(node), c.start(node))
	}))
	return errors.Join(errs...)
}
