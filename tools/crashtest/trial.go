package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"ayder/internal/testkit/proc"
)

// A trial is a sequence of rounds over one data directory: load, blow, restart, settle, audit.
// Everything produced since the first round is audited again and again, so what an early recovery spoiled
// cannot hide behind a later one.

const group = "audit"

// trial is one run of the program.
type trial struct {
	options
	blow   blow
	out    io.Writer
	ledger ledger
	random *rand.Rand
	server *proc.Server
	ends   [partitions]uint64 // what the last audit committed for its group
}

func newTrial(o options, b blow, out io.Writer) *trial {
	return &trial{options: o, blow: b, out: out, random: rand.New(rand.NewPCG(o.seed, 0))}
}

func (t *trial) keyed() bool { return t.mode == modeIdempotent }

// run does all rounds and the end; the first failure ends the trial.
func (t *trial) run() error {
	if err := t.rounds(); err != nil {
		return err
	}
	return t.end()
}

// kill ends the server if it still runs.
func (t *trial) kill() error {
	if t.server == nil {
		return nil
	}
	return t.server.Kill()
}

func (t *trial) rounds() error {
	if err := t.start(0); err != nil {
		return err
	}
	if err := t.with(func(c *proc.Client) error { return c.CreateTopic(topic, partitions) }); err != nil {
		return err
	}
	for number := range t.options.rounds {
		if err := t.round(number); err != nil {
			return fmt.Errorf("round %d: %w", number, err)
		}
	}
	return nil
}

// start starts the server, on the port it had before if there was one.
func (t *trial) start(port int) (err error) {
	t.server, err = proc.Start(proc.Options{Bin: t.bin, Dir: t.blow.dataDir(), Port: port, Backend: t.backend, Args: t.args})
	return err
}

// with runs f over a connection of its own.
func (t *trial) with(f func(c *proc.Client) error) error {
	c, err := proc.Dial(t.server.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

func (t *trial) round(number int) error {
	span := loadMin + time.Duration(t.random.Int64N(int64(t.loadMax-loadMin)+1))
	found, err := t.load(number, span)
	if err != nil {
		return err
	}
	if err := found.err(); err != nil {
		return fmt.Errorf("under load: %w", err)
	}
	began := time.Now()
	if err := t.start(t.server.Port); err != nil {
		return fmt.Errorf("restart: %w", err)
	}
	up := time.Since(began)
	sum := t.ledger.count(number)
	if t.keyed() {
		if err := t.settle(number); err != nil {
			return fmt.Errorf("retry: %w", err)
		}
	}
	a, err := t.audit(number%fullAuditEvery == fullAuditEvery-1)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "round %3d: %s after %4d ms; %6d requests with %7d messages acknowledged, %3d requests unanswered; "+
		"restart %4d ms; %8d messages audited; %d requests so far are there although they were never answered\n",
		number, t.blow.name(), span.Milliseconds(), sum.requests, sum.messages, sum.open, up.Milliseconds(), a.messages, a.late)
	return nil
}

// load lets the connections produce for a while, then the blow falls. The faults are those that
// happened before it.
func (t *trial) load(number int, span time.Duration) (*faults, error) {
	var struck atomic.Bool
	var running sync.WaitGroup
	pages := t.ledger.open(t.conns)
	producers := make([]*producer, len(pages))
	for i, p := range pages {
		producers[i] = newProducer(t.seed, t.keyed(), p, &struck)
		running.Go(func() { producers[i].run(t.server.Addr) })
	}
	time.Sleep(span)
	struck.Store(true)
	err := t.blow.strike(t.server, number)
	running.Wait()
	var all faults
	for _, p := range producers {
		all.merge(&p.faults)
	}
	return &all, err
}

// settle sends the unanswered requests of a round again, with the same keys, until they are
// answered, and some of the answered ones, which must get the same answer.
func (t *trial) settle(number int) error {
	return t.with(func(c *proc.Client) error {
		var body []byte
		var target string
		for _, p := range t.ledger.rounds[number] {
			for i := range p.requests {
				r := &p.requests[i]
				if r.acked && t.random.IntN(repeatEvery) != 0 {
					continue
				}
				target, body = describe(body[:0], t.seed, true, p, i)
				answer, err := c.Post(target, body)
				if err != nil {
					return err
				}
				if answer.Status != 200 {
					return fmt.Errorf("connection %d, request %d: %s", p.conn, i, answer.String())
				}
				if _, err := r.accept(&answer, r.acked); err != nil {
					return fmt.Errorf("connection %d, request %d: %w", p.conn, i, err)
				}
			}
		}
		return nil
	})
}

// audit reads back what is new or everything, checks the group's commits and commits anew.
func (t *trial) audit(everything bool) (*audit, error) {
	a := &audit{seed: t.seed, ledger: &t.ledger}
	from := t.ends
	if everything {
		from = [partitions]uint64{}
	}
	err := t.with(func(c *proc.Client) error {
		if err := t.committed(c, &a.faults); err != nil {
			return err
		}
		ends, err := a.run(func(p int, first uint64, visit func(*proc.Message) error) (uint64, error) {
			return c.Each(topic, p, first, visit)
		}, from)
		if err != nil {
			return err
		}
		t.ends = ends
		return t.commit(c)
	})
	if err == nil {
		err = a.faults.err()
	}
	return a, err
}

func (t *trial) commit(c *proc.Client) error {
	for p, end := range t.ends {
		if err := c.Commit(topic, group, p, end); err != nil {
			return err
		}
	}
	return nil
}

// committed checks that the offsets committed after the last audit have survived.
func (t *trial) committed(c *proc.Client, f *faults) error {
	for p, want := range t.ends {
		answer, err := c.Get(fmt.Sprintf("/broker/consume/%s/%s/%d?limit=1&encoding=b64&offset=0", topic, group, p))
		if err != nil {
			return err
		}
		var got proc.Page
		if answer.Status != 200 {
			return fmt.Errorf("partition %d: %s", p, answer.String())
		}
		if err := answer.JSON(&got); err != nil {
			return err
		}
		if got.Committed != want {
			f.addf("partition %d: the group's committed offset is %d, was %d", p, got.Committed, want)
		}
	}
	return nil
}

// end stops the server as an operator would, audits once more after a last start, and has the
// directory checked by the program's own tool.
func (t *trial) end() error {
	if err := t.stop(); err != nil {
		return err
	}
	if err := t.start(t.server.Port); err != nil {
		return fmt.Errorf("start after a clean stop: %w", err)
	}
	_, err := t.audit(true)
	if stopErr := t.stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return fmt.Errorf("after a clean stop: %w", err)
	}
	out, err := exec.Command(t.bin, "check", t.blow.dataDir()).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ayder check: %w\n%s", err, out)
	}
	return nil
}

func (t *trial) stop() error {
	code, err := t.server.Terminate(proc.HangGuard)
	if err == nil && code != 0 {
		err = fmt.Errorf("SIGTERM: exit status %d\n%s", code, t.server.Log())
	}
	return err
}
