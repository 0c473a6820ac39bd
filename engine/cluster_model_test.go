package engine

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	"ayder/internal/record"
)

// The random walk of model_test.go on the leader of a cluster: now and then leadership moves. Then the log is cut
// somewhere behind what the leader applied; what it had proposed before the cut is committed without it being told, the
// rest is gone. Another node, with another number of shards, goes on, and the old leader follows. In the end all
// hold the same state, and that of an engine that read the log alone.

type clusterModel struct {
	*model
	followers []*followerNode
	elections int
	foreign   int // frames that came back to the one who had proposed them
	lost      int // frames that were cut off
}

// followerNode applies what others made.
type followerNode struct {
	e    *Engine
	next int // index of the next frame to apply
}

func newClusterModel(t *testing.T, seed uint64) *clusterModel {
	m := &clusterModel{model: newModel(t, seed)}
	for range 2 {
		c := m.config
		c.Shards = 1 + m.rng.IntN(4)
		m.followers = append(m.followers, &followerNode{New(c), 1})
	}
	return m
}

// committed is the highest index that is known to be committed: the leader has applied it, or found it in a checkpoint.
func (m *clusterModel) committed() (index uint64) {
	index = uint64(m.restarted)
	for i := range m.config.Shards {
		index = max(index, m.w.e.Shard(i).LastApplied())
	}
	return index
}

// follow has f apply the frames up to index, shard after shard or frame after frame.
func (m *clusterModel) follow(f *followerNode, index int) {
	for ; f.next <= index; f.next++ {
		applyEverywhere(m.t, f.e, m.w.frame(f.next))
	}
}

// applyEverywhere gives a frame to every shard that it concerns, as the server does.
func applyEverywhere(t *testing.T, e *Engine, f record.Frame) {
	t.Helper()
	set := e.ShardsOf(f)
	for i := range e.Config().Shards {
		if !set.Has(i) {
			continue
		}
		if err := e.Shard(i).ApplyCommitted(f); err != nil {
			t.Fatal(err)
		}
	}
}

// elect makes a follower the leader.
func (m *clusterModel) elect() {
	committed := int(m.committed())
	last := committed + m.rng.IntN(len(m.w.frames)-committed+1)
	m.lost += len(m.w.frames) - last
	m.depose(last)
	n := m.rng.IntN(len(m.followers))
	old := &followerNode{m.w.e, last + 1}
	next := m.followers[n]
	m.followers[n] = old
	m.follow(next, last)
	m.take(next)
	m.elections++
}

// depose cuts the log behind index last and makes the leader forget, before or after it applies what was committed
// without it.
func (m *clusterModel) depose(last int) {
	m.w.frames = m.w.frames[:last]
	slices.SortFunc(m.logged, func(a, b *record.Batch) int { return cmp.Compare(a.Index, b.Index) })
	forget := func() {
		for i := range m.config.Shards {
			m.w.e.Shard(i).Forget()
		}
	}
	early := m.rng.IntN(2) == 0
	if early {
		forget()
	}
	for _, b := range slices.Clone(m.logged) {
		if b.Index > uint64(last) {
			break
		}
		m.foreign++
		applyEverywhere(m.t, m.w.e, m.w.frame(int(b.Index)))
		m.takeEffect(b)
	}
	if !early {
		forget()
	}
	m.logged = nil
	m.model.forget()
	m.check()
	m.compare()
}

// take makes f the leader.
func (m *clusterModel) take(f *followerNode) {
	for i := range f.e.Config().Shards {
		f.e.Shard(i).Forget()
	}
	m.config.Shards = f.e.Config().Shards
	m.w.start(f.e)
	m.w.last = 0
	if n := len(m.w.frames); n > 0 {
		m.w.last = m.w.frame(n).TimeMs
	}
	m.shardTime = make([]uint64, m.config.Shards)
	for i := range m.shardTime {
		m.shardTime[i] = f.e.Shard(i).timeMs
	}
	m.check()
	m.compare()
}

func TestRandomWalksWithElections(t *testing.T) {
	walks, elections, foreign, lost := uint64(30), 0, 0, 0
	if testing.Short() {
		walks = 5
	}
	for seed := range walks {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			m := newClusterModel(t, seed)
			for range 2000 {
				switch n := m.rng.IntN(100); {
				case n == 0:
					m.elect()
				case n < 10:
					m.follow(m.followers[m.rng.IntN(len(m.followers))], int(m.committed()))
				default:
					m.step()
				}
			}
			m.finish()
			for _, f := range m.followers {
				m.follow(f, len(m.w.frames))
				sameState(t, m.w.e, f.e)
			}
			elections, foreign, lost = elections+m.elections, foreign+m.foreign, lost+m.lost
		})
	}
	t.Logf("%d elections, %d frames came back, %d were lost", elections, foreign, lost)
	if foreign == 0 || lost == 0 {
		t.Fatal("the walks did not meet what they are for")
	}
}
