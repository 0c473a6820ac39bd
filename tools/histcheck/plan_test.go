package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestPlansFollowFromTheSeed(t *testing.T) {
	const length = 10 * time.Minute
	a := newTrack(7, 1, processFaults, length)
	if !reflect.DeepEqual(a, newTrack(7, 1, processFaults, length)) {
		t.Error("the same seed makes another plan")
	}
	if reflect.DeepEqual(a, newTrack(8, 1, processFaults, length)) || reflect.DeepEqual(a, newTrack(7, 2, processFaults, length)) {
		t.Error("another seed, or another track, makes the same plan")
	}
	end := warmUp
	kinds, targets := make(map[faultKind]bool), make(map[target]bool)
	for _, s := range a {
		if s.at < end+quietMin || s.at > end+quietMax || s.hold < holdMin || s.hold > holdMax {
			t.Errorf("%+v, after one that ended at %v", s, end)
		}
		end = s.at + s.hold
		kinds[s.kind], targets[s.target] = true, true
	}
	if end >= length || len(targets) != int(targetCount) {
		t.Errorf("ends at %v, targets %v", end, targets)
	}
	for _, k := range processFaults {
		if !kinds[k] {
			t.Errorf("%s never occurs", k)
		}
	}
	if steps := newTrack(7, 1, nil, length); steps != nil {
		t.Error("faults without kinds:", steps)
	}
}

func TestFaultLists(t *testing.T) {
	all, err := parseFaults("all")
	if err != nil || len(choose(processFaults, all)) != len(processFaults) || len(choose(networkFaults, all)) != len(networkFaults) {
		t.Error(all, err)
	}
	if none, err := parseFaults("none"); err != nil || len(choose(processFaults, none)) != 0 {
		t.Error(none, err)
	}
	some, err := parseFaults("kill, split")
	if err != nil || !slices.Equal(choose(processFaults, some), []faultKind{faultKill, faultKill}) ||
		!slices.Equal(choose(networkFaults, some), []faultKind{faultSplit, faultSplit}) {
		t.Error(some, err)
	}
	if _, err := parseFaults("kill,flood"); err == nil || !strings.Contains(err.Error(), `unknown fault "flood"`) {
		t.Error(err)
	}
}

// Every network fault leaves the node that it is about, and only what it means to, cut off.
func TestCuts(t *testing.T) {
	for _, count := range []int{3, 5, 7} {
		for pick := range uint64(50) {
			for node := range count {
				s := step{pick: pick}
				both := func(links []link) bool {
					return !slices.ContainsFunc(links, func(l link) bool { return !slices.Contains(links, link{l.to, l.from}) })
				}
				s.kind = faultSplit
				if links := s.cut(node, count); !both(links) || reach(node, count, links) > count/2 {
					t.Errorf("%d nodes, split %d: %s leaves it with %d", count, node+1, describe(links), reach(node, count, links))
				}
				s.kind = faultMute
				if links := s.cut(node, count); len(links) != count-1 || slices.ContainsFunc(links, func(l link) bool { return l.from != node }) {
					t.Errorf("mute: %s", describe(links))
				}
				s.kind = faultDeaf
				if links := s.cut(node, count); len(links) != count-1 || slices.ContainsFunc(links, func(l link) bool { return l.to != node }) {
					t.Errorf("deaf: %s", describe(links))
				}
				s.kind = faultOneWay
				if links := s.cut(node, count); len(links) != 1 || links[0].from != node || links[0].to == node {
					t.Errorf("one-way: %s", describe(links))
				}
				s.kind = faultBridge
				if links := s.cut(node, count); !both(links) || reach(node, count, links) != count || bridges(count, links) != 1 {
					t.Errorf("bridge: %s", describe(links))
				}
			}
		}
	}
}

// reach is how many nodes a node reaches, itself included, over others too.
func reach(node, count int, closed []link) int {
	seen := map[int]bool{node: true}
	for grown := true; grown; {
		grown = false
		for from := range seen {
			for to := range count {
				if !seen[to] && !slices.Contains(closed, link{from, to}) {
					seen[to], grown = true, true
				}
			}
		}
	}
	return len(seen)
}

// bridges is how many nodes have no closed line.
func bridges(count int, closed []link) (n int) {
	for node := range count {
		if !slices.ContainsFunc(closed, func(l link) bool { return l.from == node }) {
			n++
		}
	}
	return n
}

func TestLinksAreListed(t *testing.T) {
	if got := describe([]link{{0, 1}, {2, 0}}); got != "1→2 3→1" {
		t.Errorf("%q", got)
	}
}
