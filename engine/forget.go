package engine

// Forgetting what is in flight. In a cluster a batch may be proposed and leadership lost before anybody knows whether
// it was committed. From then on other nodes give offsets, so those given here mean nothing: the shard goes back to
// what was applied. A batch that was committed all the same is applied like any other node's, by ApplyCommitted.
//
// What was applied stays, idempotency keys above all: whoever tries again finds the first try, here or on the next
// leader. Forgetting walks all partitions, about 10 ms for a million of them; a list of those in flight would be
// shorter and cost every produce something.

// Forget takes back everything in flight: offsets given, idempotency keys, groups' commits, floors, changes of topics, schemas,
// pipelines and their steps, and ranges of rocket topics, whose messages are lost.
// Batches that hold any of it must not be appended afterwards; those that were, and are committed after all, must
// come back through ApplyCommitted.
func (s *Shard) Forget() {
	clear(s.keys)
	s.changing = changes{}
	clear(s.cutting)
	for g, c := range s.committing {
		c.forget(g)
	}
	clear(s.committing)
	if s.number == CatalogueShard {
		clear(s.engine.memberships.pending)
		s.engine.schemas.flying = schemasFlying{}
		s.engine.pipelines.flying = pipelinesFlying{}
	}
	s.forgetKV()
	s.forgetPipelines()
	clear(s.rockets)
	for t := range s.engine.catalogue.topics().all {
		for _, p := range t.partitions {
			if p.owner == s {
				if p.rocket != nil {
					p.rocket.forget(p)
				}
				p.assigned = p.next.Load()
			}
		}
	}
}
