package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// The plan says which faults happen when. It follows from the seed alone; which node is the leader at that
// moment is found out when the time comes. Two tracks run beside each other, one for processes and disks, one for
// the network, each one fault at a time, so a node may be killed while another is cut off. A fault is made, held,
// and taken back; then it is quiet for a while.

// faultKind is one kind of fault.
type faultKind string

const (
	faultKill    faultKind = "kill"     // SIGKILL, started again when the fault is taken back
	faultKillAll faultKind = "kill-all" // SIGKILL to all nodes, started again at once
	faultPause   faultKind = "pause"    // SIGSTOP, then SIGCONT
	faultStop    faultKind = "restart"  // SIGTERM, which must end it, then started again
	faultSlow    faultKind = "slow"     // a disk that takes few writes a second
	faultMove    faultKind = "transfer" // leadership is given to a node by POST /ha/transfer

	faultSplit  faultKind = "split"   // one node or more cut off from the rest, both ways
	faultMute   faultKind = "mute"    // one node is not heard by the others, but hears them
	faultDeaf   faultKind = "deaf"    // the other way round
	faultOneWay faultKind = "one-way" // nothing gets from one node to another
	faultBridge faultKind = "bridge"  // two halves that only one node sees both of
)

// The tracks. What occurs twice is twice as likely.
var (
	processFaults = []faultKind{faultKill, faultKill, faultPause, faultPause, faultStop, faultSlow, faultMove, faultKillAll}
	networkFaults = []faultKind{faultSplit, faultSplit, faultMute, faultDeaf, faultOneWay, faultBridge}
)

// target says which node a fault is about.
type target uint8

const (
	targetLeader   target = iota // the one that leads when the time comes
	targetFollower               // one that does not
	targetAny
	targetCount
)

// step is one fault of a plan.
type step struct {
	at     time.Duration // from the beginning of the run
	hold   time.Duration
	kind   faultKind
	target target
	pick   uint64 // decides what is open when the time comes: which follower, which others
}

// newTrack plans one track until the end. stream tells the tracks of one seed apart. No kinds, no faults.
func newTrack(seed, stream uint64, kinds []faultKind, length time.Duration) (steps []step) {
	random := rand.New(rand.NewPCG(seed, stream))
	if len(kinds) == 0 {
		return nil
	}
	at := warmUp
	for {
		at += between(random, quietMin, quietMax)
		s := step{
			at: at, hold: between(random, holdMin, holdMax), kind: kinds[random.IntN(len(kinds))],
			target: target(random.IntN(int(targetCount))), pick: random.Uint64(),
		}
		if at += s.hold; at >= length {
			return steps
		}
		steps = append(steps, s)
	}
}

func between(random *rand.Rand, low, high time.Duration) time.Duration {
	return low + time.Duration(random.Int64N(int64(high-low)+1))
}

// choose picks the faults that are wanted from a track's.
func choose(all []faultKind, wanted map[faultKind]bool) (kinds []faultKind) {
	for _, k := range all {
		if wanted[k] {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// parseFaults reads a list of faults, "all" or "none".
func parseFaults(text string) (map[faultKind]bool, error) {
	wanted := make(map[faultKind]bool)
	known := append(append([]faultKind(nil), processFaults...), networkFaults...)
	switch text {
	case "none":
		return wanted, nil
	case "all":
		for _, k := range known {
			wanted[k] = true
		}
		return wanted, nil
	}
	for _, word := range strings.Split(text, ",") {
		k := faultKind(strings.TrimSpace(word))
		if !slices.Contains(known, k) {
			return nil, fmt.Errorf("unknown fault %q: want all, none or a list of %s", k, names(known))
		}
		wanted[k] = true
	}
	return wanted, nil
}

// names lists each kind once.
func names(kinds []faultKind) string {
	var list []string
	seen := make(map[faultKind]bool)
	for _, k := range kinds {
		if !seen[k] {
			seen[k] = true
			list = append(list, string(k))
		}
	}
	return strings.Join(list, " ")
}

// link is a direction between two nodes.
type link struct{ from, to int }

// cut returns the directions that a network fault closes, for a node and the number of nodes.
func (s step) cut(node, count int) (links []link) {
	random := rand.New(rand.NewPCG(s.pick, 1))
	others := without(random.Perm(count), node)
	switch s.kind {
	case faultMute:
		return across([]int{node}, others, true, false)
	case faultDeaf:
		return across([]int{node}, others, false, true)
	case faultOneWay:
		return []link{{node, others[0]}}
	case faultBridge: // the first of the others sees both halves
		half := (count - 1) / 2
		return across(append([]int{node}, others[1:half]...), others[max(half, 1):], true, true)
	}
	side := 1 + random.IntN(count/2) // how many are with the node, itself included: never all
	return across(append([]int{node}, others[:side-1]...), others[side-1:], true, true)
}

func without(list []int, x int) (rest []int) {
	for _, v := range list {
		if v != x {
			rest = append(rest, v)
		}
	}
	return rest
}

// across are the links from a to b, and back, as wanted.
func across(a, b []int, there, back bool) (links []link) {
	for _, x := range a {
		for _, y := range b {
			if there {
				links = append(links, link{x, y})
			}
			if back {
				links = append(links, link{y, x})
			}
		}
	}
	return links
}
