package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// A trial is one run from an empty directory to the verdict:
//
//	start the nodes, create the topic
//	load and faults for a while, recorded
//	mend everything, wait for the cluster to be whole, write once more to every partition
//	read the leader and every node, stop the nodes, check their directories
//	audit what is there; settle what nobody was told; search every partition's history

// trial is the state of one run.
type trial struct {
	options
	out     io.Writer
	network network
	disks   *disks
	cluster *cluster
	world   *world
	keys    *kvWorld
	faults  *shared
	tracks  [][]step
	made    map[faultKind]int

	kvOps    []kvOp
	watching []*kvWatcher
	watched  sync.WaitGroup
	unwatch  chan struct{}
	changes  []kvEvent

	history history
	places  map[uint64]place
}

// newTrial makes the places where nodes live, and the plan.
func newTrial(o options, out io.Writer) (r *trial, err error) {
	r = &trial{options: o, out: out, faults: &shared{}, made: make(map[faultKind]int)}
	wantedSlow := o.faults[faultSlow]
	if o.netns {
		r.network, err = newNamespaces(o.nodes)
	} else {
		r.network, err = newLoopback(o.nodes)
	}
	if err != nil {
		return nil, err
	}
	processes := choose(processFaults, o.faults)
	if wantedSlow {
		if r.disks, err = newDisks(o.dir, o.nodes); err != nil {
			fmt.Fprintln(out, "no slow disks:", err)
			processes = drop(processes, faultSlow)
		}
	}
	r.cluster = newCluster(&r.options, r.network, r.disks, r.faults)
	r.tracks = [][]step{
		newTrack(o.seed, 1, processes, o.duration),
		newTrack(o.seed, 2, choose(r.network.faults(), o.faults), o.duration),
	}
	pause := time.Duration(o.clients) * time.Second / time.Duration(o.rate)
	operations := int64(o.duration.Seconds()*float64(o.rate)) + 1
	r.world = newWorld(o.seed, r.cluster.addresses(), operations, pause, r.faults)
	r.keys, r.unwatch = newKVWorld(r.world), make(chan struct{})
	return r, nil
}

func drop(kinds []faultKind, k faultKind) (rest []faultKind) {
	for _, x := range kinds {
		if x != k {
			rest = append(rest, x)
		}
	}
	return rest
}

// run is the trial.
func (r *trial) run() error {
	all, err := r.record()
	if err != nil {
		return errors.Join(err, r.faults.err(), r.evidence())
	}
	err = r.stop()
	return errors.Join(err, r.faults.err(), r.audit(all).err(), r.judge(), r.evidence())
}

// record makes the history, and what the nodes hold in the end.
func (r *trial) record() ([]contents, error) {
	if err := r.load(); err != nil {
		close(r.unwatch)
		r.watched.Wait()
		return nil, err
	}
	if err := r.collectKV(); err != nil {
		return nil, err
	}
	return r.collect()
}

// load starts the cluster and drives it.
func (r *trial) load() error {
	if err := r.cluster.each(r.cluster.start); err != nil {
		return err
	}
	if err := r.cluster.waitReady(); err != nil {
		return err
	}
	if err := r.create(); err != nil {
		return err
	}
	if err := r.drive(); err != nil {
		return err
	}
	say(r.out, r.world.began, "all faults are over; made: %v", r.made)
	return r.settle()
}

// drive runs clients and faults for the time of the run.
func (r *trial) drive() error {
	r.world.began = time.Now()
	say(r.out, r.world.began, "load and faults begin at %s", r.world.began.UTC().Format("15:04:05.000"))
	n := &nemesis{cluster: r.cluster, out: r.out, began: r.world.began, made: r.made}
	end := make(chan struct{})
	lists := make([][]op, r.clients)
	var clients, tracks sync.WaitGroup
	kvLists := make([][]kvOp, r.kvClients)
	for i := range r.kvClients {
		clients.Go(func() {
			c := newKVClient(r.keys, i, r.network.dial)
			c.run(end)
			kvLists[i] = c.ops
		})
	}
	r.watch()
	for i := range r.clients {
		clients.Go(func() {
			c := newClient(r.world, i, r.network.dial)
			c.run(end)
			lists[i] = c.ops
		})
	}
	errs := make([]error, len(r.tracks)+1)
	for i, t := range r.tracks {
		tracks.Go(func() { errs[i] = n.play(t) })
	}
	time.Sleep(r.duration)
	tracks.Wait()
	close(end)
	clients.Wait()
	errs[len(r.tracks)] = n.mend()
	r.history, r.kvOps = join(lists), slices.Concat(kvLists...)
	return errors.Join(errs...)
}

// watch starts the watchers.
func (r *trial) watch() {
	for i := range r.watchers {
		w := newKVWatcher(r.world, r.network.dial, rand.New(rand.NewPCG(r.seed, kvStream+uint64(1000+i))))
		r.watching = append(r.watching, w)
		r.watched.Go(func() { w.run(r.unwatch) })
	}
}

// collectKV ends the watchers and holds them against what the nodes have.
func (r *trial) collectKV() (err error) {
	last := int64(-1)
	if r.kvClients > 0 {
		last, err = r.lastChange()
	}
	for _, w := range r.watching {
		if err == nil && !until(settleWait, func() bool { return w.last.Load() >= last }) {
			err = fmt.Errorf("a watcher is at %d, not at %d", w.last.Load(), last)
		}
	}
	close(r.unwatch)
	r.watched.Wait()
	if err != nil || r.kvClients == 0 {
		return err
	}
	if r.changes, err = r.finalChanges(last); err != nil {
		return err
	}
	broken := 0
	for _, w := range r.watching {
		w.seen(r.faults, r.changes)
		broken += w.broken
	}
	promisedKV(r.faults, r.kvOps, r.changes)
	fmt.Fprintf(r.out, "%d changes of keys; %d watchers, whose streams broke %d times\n", len(r.changes), len(r.watching), broken)
	return nil
}

// judge searches the history and prints what it was.
func (r *trial) judge() error {
	printTally(r.out, r.history)
	gap, at := r.history.writeGap()
	fmt.Fprintf(r.out, "longest time without an acknowledged write: %v, from %.2f s on; %d partitions; %d messages\n",
		time.Duration(gap).Round(time.Millisecond), time.Duration(at).Seconds(), r.used(), len(r.places))
	began := time.Now()
	bad, count, err := search(r.history.resolve(r.places), r.dir)
	fmt.Fprintf(r.out, "%d histories searched in %v, %d not found linearizable\n", count, time.Since(began).Round(time.Millisecond), len(bad))
	printKV(r.out, r.kvOps)
	badKeys, keys := searchKV(resolveKV(r.kvOps, r.changes), r.dir)
	fmt.Fprintf(r.out, "%d keys searched, %d not found linearizable\n", keys, len(badKeys))
	var f faults
	for _, text := range badKeys {
		f.addf("%s", text)
	}
	for _, v := range bad {
		f.addf("%s", v)
	}
	if t := r.history.tally(); t[kindAppend][outcomeOK] == 0 || t[kindRead][outcomeOK] == 0 {
		f.addf("nothing was shown: no append or no read was answered")
	}
	return errors.Join(err, f.err())
}

// evidence leaves the nodes' logs and the history beside the data, which is kept if the run failed or was given a
// directory.
func (r *trial) evidence() error {
	f, err := os.Create(filepath.Join(r.dir, "history.txt"))
	if err != nil {
		return err
	}
	for i := range r.history {
		o := &r.history[i]
		fmt.Fprintf(f, "%10.6f %10.6f partition %d client %d %s id %d: %s, %s\n", time.Duration(o.call).Seconds(), time.Duration(o.ret).Seconds(),
			o.partition, o.client, name(o.node), o.id, o.outcome, o.describe())
	}
	return errors.Join(f.Close(), r.cluster.logs(r.dir))
}

// close ends whatever still runs and gives back what was taken.
func (r *trial) close() error {
	err := r.cluster.close()
	if r.disks != nil {
		err = errors.Join(err, r.disks.close())
	}
	return errors.Join(err, r.network.close())
}
