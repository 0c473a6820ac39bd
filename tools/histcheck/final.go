package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"

	"ayder/internal/testkit/proc"
)

// The end of a run: everything is mended and every node is to become ready. Then the leader's log is read once more,
// as an operation of the history like any other, every node's log through its own consume call, and at last
// the nodes are asked to stop, and the program's own check looks over what they leave on disk.

// settle waits until the cluster is whole and takes writes.
func (r *trial) settle() error {
	if err := r.cluster.waitReady(); err != nil {
		return err
	}
	last := newClient(r.world, r.clients, r.network.dial)
	defer last.caller.close()
	for p := range r.used() {
		if !until(settleWait, func() bool {
			o := op{client: last.number, node: last.random.IntN(len(r.cluster.nodes)), partition: p, kind: kindAppend}
			last.perform(&o)
			return o.outcome == outcomeOK
		}) {
			return fmt.Errorf("partition %d takes no write %v after the last fault", p, settleWait)
		}
	}
	r.history = append(r.history, last.ops...)
	return nil
}

// used is how many partitions were worked on.
func (r *trial) used() int { return int(min(r.world.fresh.Load(), partitionsAll)) }

// collect reads all nodes' logs, the leader's first: into the history.
func (r *trial) collect() (all []contents, err error) {
	leading, err := r.readLeader()
	if err != nil {
		return nil, err
	}
	all = make([]contents, len(r.cluster.nodes))
	err = r.cluster.each(func(node int) error {
		var err error
		all[node], err = r.readNode(node, leading)
		return err
	})
	return append([]contents{leading}, all...), err
}

// readLeader reads every used partition as the leader has it, and records each as one read.
func (r *trial) readLeader() (contents, error) {
	c := newCaller(r.network.dial, r.faults)
	defer c.close()
	random := rand.New(rand.NewPCG(r.seed, finalStream))
	log := make(contents)
	for p := range r.used() {
		o := op{client: r.clients + 1, partition: p, kind: kindRead, call: r.world.now(), id: r.world.ids.Add(1)}
		for more := true; more; {
			address := r.cluster.nodes[random.IntN(len(r.cluster.nodes))].address
			answer, out := c.ask(address, "GET", consumeTarget(p, len(log[p]))+"&consistency=leader", nil)
			var pg proc.Page
			if out != outcomeOK {
				return nil, fmt.Errorf("final read of partition %d: %s", p, &answer)
			}
			if err := answer.JSON(&pg); err != nil {
				return nil, err
			}
			log.add(p, &pg)
			more, o.next = pg.Truncated, pg.Next
		}
		o.ids, o.ret = log.only(p).ids(r.seed)[p], r.world.now()
		r.history = append(r.history, o)
	}
	return log, nil
}

// readNode reads what a node has, once it has as much as the leader had.
func (r *trial) readNode(node int, leading contents) (log contents, err error) {
	log = make(contents)
	return log, r.cluster.with(node, settleWait, func(c *proc.Client) error {
		for p := range r.used() {
			var pageErr error
			enough := until(settleWait, func() bool {
				var pg proc.Page
				var answer proc.Response
				if answer, pageErr = c.Get(consumeTarget(p, len(log[p]))); pageErr != nil {
					return true
				}
				if answer.Status == 200 {
					pageErr = answer.JSON(&pg)
					log.add(p, &pg)
				}
				return pageErr != nil || len(log[p]) >= len(leading[p]) && answer.Status == 200 && !pg.Truncated
			})
			if pageErr != nil {
				return fmt.Errorf("%s: %w", name(node), pageErr)
			}
			if !enough {
				return fmt.Errorf("%s does not catch up: %d of %d messages of partition %d after %v",
					name(node), len(log[p]), len(leading[p]), p, settleWait)
			}
		}
		return nil
	})
}

func consumeTarget(partition, from int) string {
	return fmt.Sprintf("/broker/consume/%s/%s/%d?encoding=b64&offset=%d&limit=1000", topic, group, partition, from)
}

func (c contents) add(partition int, p *proc.Page) {
	for _, m := range p.Messages {
		c[partition] = append(c[partition], message{m.Offset, m.TimeMs, string(m.ValueB64)})
	}
}

// only is one partition of the contents.
func (c contents) only(partition int) contents { return contents{partition: c[partition]} }

// audit holds all that is known against one another.
func (r *trial) audit(all []contents) *faults {
	f := &faults{}
	leading := all[0]
	for node, log := range all[1:] {
		compare(f, "the leader's answer", name(node), leading, log)
	}
	r.places = leading.index(f, r.seed)
	r.history.promises(f, r.places)
	r.history.followers(f, leading.ids(r.seed))
	return f
}

// stop ends the nodes as an operator would and has their directories checked.
func (r *trial) stop() error {
	if err := r.cluster.each(r.cluster.stop); err != nil {
		return err
	}
	return r.cluster.each(func(node int) error {
		dir := r.cluster.nodes[node].options.Dir
		out, err := exec.Command(r.bin, "check", dir).CombinedOutput()
		if err != nil {
			return errors.Join(fmt.Errorf("ayder check of %s: %w", name(node), err), errors.New(string(out)))
		}
		return nil
	})
}

// create makes the topic, with as many tries as it takes for a leader to be there.
func (r *trial) create() error {
	c := newCaller(r.network.dial, r.faults)
	defer c.close()
	body := fmt.Appendf(nil, `{"name":%q,"partitions":%d}`, topic, partitionsAll)
	var answer proc.Response
	if !until(settleWait, func() bool {
		var out outcome
		answer, out = c.ask(r.cluster.nodes[0].address, "POST", "/broker/topics", body)
		return out == outcomeOK
	}) {
		return fmt.Errorf("the topic cannot be created for %v: %s", settleWait, &answer)
	}
	return nil
}
