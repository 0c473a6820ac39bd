package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"

	"ayder/internal/record"
)

// pipe creates a pipeline that reads all of topic from and writes to partition 0 of topic into.
func (w *world) pipe(name string, from, into *Topic, start ...uint64) *Pipeline {
	w.t.Helper()
	spec := &PipelineSpec{Name: name, Text: []byte("text"), Into: record.Stream{Topic: into.ID()}, Inputs: []PipelineInput{{Topic: from.ID(), All: true, Start: start}}}
	c, err := w.coordinator().CreatePipeline(w.opener(), spec)
	if err != nil || c.Made == nil {
		w.t.Fatalf("create %s: %+v %v", name, c, err)
	}
	w.commit()
	return w.e.Pipeline([]byte(name))
}

// into is the partition that a pipeline writes to.
func (w *world) into(p *Pipeline) *Partition { return w.e.catalogue.partition(p.spec.Into) }

// step asks for a step with some rows.
func (w *world) step(p *Pipeline, step PipelineStep, rows ...string) error {
	at := w.into(p)
	step.Pipeline = p.ID()
	var list []record.Record
	for _, row := range rows {
		list = append(list, record.Record{Value: []byte(row), TimeMs: 5, HasKey: true, Key: []byte("k")})
	}
	return at.owner.StepPipeline(w.open[at.Shard()], at, &step, list)
}

func (w *world) progress(p *Pipeline) PipelineProgress {
	return w.into(p).owner.PipelineProgress(w.into(p), p.ID())
}

func page(partition uint32, from, to uint64) PipelineRead {
	return pages(PipelinePage{Partition: partition, From: from, To: to})
}

func pages(list ...PipelinePage) PipelineRead { return PipelineRead{Schemas: 3, Pages: list} }

// samplePipelines has pipelines that run, that have not made a step, and that were deleted.
func samplePipelines(t testing.TB, shards int) *world {
	w := newWorld(t, Config{Shards: shards})
	a, b, c := w.topic("a", 2), w.topic("b", 1), w.topic("c", 3)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		w.commit()
	}
	run, gone := w.pipe("run", a, b, 3, 4), w.pipe("gone", a, c)
	join := &PipelineSpec{Name: "join", Text: []byte("{}"), Into: record.Stream{Topic: c.ID(), Partition: 2}, Inputs: []PipelineInput{
		{Topic: a.ID(), Partition: 1, Start: []uint64{7}}, {Topic: b.ID(), All: true},
	}}
	_, err := w.coordinator().CreatePipeline(w.opener(), join)
	must(err)
	must(w.step(run, PipelineStep{PipelineRead: page(1, 4, 10), HasState: true, State: []byte("state")}, "x", "y"))
	must(w.step(run, PipelineStep{Number: 1, PipelineRead: page(0, 3, 4), Lost: 2}))
	must(w.step(run, PipelineStep{Number: 2, PipelineRead: page(1, 10, 12)}, "z"))
	must(w.step(gone, PipelineStep{PipelineRead: page(0, 0, 1)}, "q"))
	_, err = w.coordinator().DeletePipeline(w.opener(), []byte("gone"))
	must(err)
	two := w.e.Pipeline([]byte("join"))
	must(w.step(two, PipelineStep{PipelineRead: pages(PipelinePage{Source: 1, From: 0, To: 1}), HasState: true}))
	must(w.step(two, PipelineStep{Number: 1, PipelineRead: pages(PipelinePage{Partition: 1, From: 7, To: 9}, PipelinePage{Source: 1, From: 1, To: 4})}, "r"))
	w.pipe("idle", a, c, 1)
	return w
}

func TestStepsFollowEachOther(t *testing.T) {
	w := newWorld(t, Config{Shards: 3})
	from, to := w.topic("from", 2), w.topic("to", 1)
	p := w.pipe("p", from, to, 5)
	want := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) || want == nil && got != nil {
			t.Fatalf("%s: %v, want %v", what, got, want)
		}
	}
	want("a page from before the start", w.step(p, PipelineStep{PipelineRead: page(0, 4, 6)}), ErrStale)
	want("a page behind the start", w.step(p, PipelineStep{PipelineRead: page(0, 6, 7)}), ErrStale)
	want("step 1 as the first", w.step(p, PipelineStep{Number: 1, PipelineRead: page(0, 5, 7)}), ErrStale)
	want("first", w.step(p, PipelineStep{PipelineRead: page(0, 5, 7)}, "a"), nil)
	want("the same again, in flight", w.step(p, PipelineStep{PipelineRead: page(0, 5, 7)}, "a"), ErrStale)
	want("the same page as the next step", w.step(p, PipelineStep{Number: 1, PipelineRead: page(0, 5, 7)}, "a"), ErrStale)
	want("second, while the first is in flight", w.step(p, PipelineStep{Number: 1, PipelineRead: page(0, 7, 8)}), nil)
	want("another partition, without a start", w.step(p, PipelineStep{Number: 2, PipelineRead: page(1, 0, 4)}, "b", "c"), nil)
	if g := w.progress(p); g.Steps != 0 || g.InFlight != 3 || w.into(p).Next() != 0 {
		t.Fatalf("in flight: %+v", g)
	}
	w.commit()
	want("two pages, of which one does not follow", w.step(p, PipelineStep{Number: 3, PipelineRead: pages(PipelinePage{0, 0, 8, 9}, PipelinePage{0, 1, 3, 5})}), ErrStale)
	want("the same again, applied", w.step(p, PipelineStep{PipelineRead: page(0, 5, 7)}, "a"), ErrStale)
	want("another runner that has seen the first step only", w.step(p, PipelineStep{Number: 1, PipelineRead: page(0, 7, 9)}, "a"), ErrStale)
	g := w.progress(p)
	if g.Steps != 3 || g.Rows != 3 || g.InFlight != 0 || p.Position(&g, 0, 0) != 8 || p.Position(&g, 0, 1) != 4 || len(g.Journal) != 3 {
		t.Fatalf("%+v", g)
	}
	want("a state", w.step(p, PipelineStep{Number: 3, PipelineRead: page(0, 8, 9), HasState: true, State: []byte("s"), Lost: 4}), nil)
	w.commit()
	if now := w.progress(p); string(now.State) != "s" || len(now.Journal) != 0 || now.Lost != 4 || len(g.Journal) != 3 || p.Position(&g, 0, 0) != 8 {
		t.Fatalf("%+v, and %+v has changed", now, g)
	}
	var rows []string
	for i := range w.frames {
		f := w.frame(i + 1)
		it := f.Iter()
		for sec, ok := it.Next(); ok; sec, ok = it.Next() {
			if sec.Type == record.SectionRecords {
				rs := sec.Records()
				for r, ok := rs.Next(); ok; r, ok = rs.Next() {
					rows = append(rows, string(r.Key)+string(r.Value)+fmt.Sprint(r.TimeMs))
				}
			}
		}
	}
	if !slices.Equal(rows, []string{"ka5", "kb5", "kc5"}) {
		t.Fatal(rows)
	}
}

func TestStepsThatAreRefused(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	from, to := w.topic("from", 1), w.topic("to", 2)
	p := w.pipe("p", from, to)
	if err := w.step(p, PipelineStep{PipelineRead: page(0, 0, 1), HasState: true, State: make([]byte, PipelineStateMax+1)}); err != ErrPipelineState {
		t.Fatal(err)
	}
	for i := range uint64(PipelineJournalMax) {
		if err := w.step(p, PipelineStep{Number: i, PipelineRead: page(0, i, i+1)}); err != nil {
			t.Fatal(err)
		}
		if i%10 == 0 {
			w.commit()
		}
	}
	next := PipelineStep{Number: PipelineJournalMax, PipelineRead: page(0, PipelineJournalMax, PipelineJournalMax+1)}
	if err := w.step(p, next); err != ErrPipelineJournal {
		t.Fatal(err)
	}
	next.HasState = true
	if err := w.step(p, next); err != nil {
		t.Fatal(err)
	}
	next = PipelineStep{Number: next.Number + 1, PipelineRead: page(0, next.Pages[0].To, next.Pages[0].To+1)}
	if err := w.step(p, next); err != nil {
		t.Fatal("behind a state in flight:", err)
	}
	w.commit()
	if _, err := w.coordinator().DeletePipeline(w.opener(), []byte("p")); err != nil {
		t.Fatal(err)
	}
	w.commit()
	if err := w.step(p, PipelineStep{PipelineRead: page(0, 0, 1)}); err != ErrNoPipeline {
		t.Fatal(err)
	}
	p = w.pipe("p", from, to)
	for name, f := range map[string]func(){
		"of nothing":  func() { _ = w.step(p, PipelineStep{PipelineRead: page(0, 0, 0)}) },
		"of no input": func() { _ = w.step(p, PipelineStep{PipelineRead: pages(PipelinePage{Source: 1, To: 1})}) },
		"another partition": func() {
			s := to.Partition(1)
			_ = s.owner.StepPipeline(w.open[s.Shard()], s, &PipelineStep{Pipeline: p.ID()}, nil)
		},
		"another shard": func() {
			s := to.Partition(0)
			_ = w.e.Shard(1-s.Shard()).StepPipeline(w.open[0], s, &PipelineStep{Pipeline: p.ID()}, nil)
		},
	} {
		mustPanic(t, name, f)
	}
}

func TestStatesTogetherAreBounded(t *testing.T) {
	w := newWorld(t, Config{})
	from, to := w.topic("from", 1), w.topic("to", 1)
	a, b := w.pipe("a", from, to), w.pipe("b", from, to)
	w.e.pipelines.states.Store(PipelineStatesMax - 10)
	if err := w.step(a, PipelineStep{PipelineRead: page(0, 0, 1), HasState: true, State: make([]byte, 10)}); err != nil {
		t.Fatal(err)
	}
	w.commit()
	if err := w.step(b, PipelineStep{PipelineRead: page(0, 0, 1), HasState: true, State: make([]byte, 1)}); err != ErrPipelineState {
		t.Fatal(err)
	}
	if err := w.step(a, PipelineStep{Number: 1, PipelineRead: page(0, 1, 2), HasState: true, State: make([]byte, 10)}); err != nil {
		t.Fatal("one that replaces another:", err)
	}
	w.commit()
	if _, err := w.coordinator().DeletePipeline(w.opener(), []byte("a")); err != nil {
		t.Fatal(err)
	}
	w.commit()
	if n := w.e.pipelines.states.Load(); n != PipelineStatesMax-10 {
		t.Fatal("after a deletion", n)
	}
}

func TestPipelinesThatMayNotBe(t *testing.T) {
	w := newWorld(t, Config{})
	from, to := w.topic("from", 2), w.topic("to", 1)
	if _, err := w.coordinator().CreateTopic(w.open[0], TopicSpec{Name: "rocket", Partitions: 1, Mode: Rocket}); err != nil {
		t.Fatal(err)
	}
	w.commit()
	rocket := w.e.Topic([]byte("rocket"))
	for name, c := range map[string]struct {
		edit func(p *PipelineSpec)
		want error
	}{
		"name":             {func(p *PipelineSpec) { p.Name = "a/b" }, ErrPipelineName},
		"no text":          {func(p *PipelineSpec) { p.Text = nil }, ErrPipelineText},
		"long":             {func(p *PipelineSpec) { p.Text = make([]byte, PipelineTextMax+1) }, ErrPipelineText},
		"no inputs":        {func(p *PipelineSpec) { p.Inputs = nil }, ErrPipelineInputs},
		"three inputs":     {func(p *PipelineSpec) { p.Inputs = append(p.Inputs, p.Inputs[0], p.Inputs[0]) }, ErrPipelineInputs},
		"into its input":   {func(p *PipelineSpec) { p.Into.Topic = from.ID() }, ErrPipelineInputs},
		"no start":         {func(p *PipelineSpec) { p.Inputs[0].All = false }, ErrPipelineInputs},
		"all of one":       {func(p *PipelineSpec) { p.Inputs[0].Partition = 1 }, ErrPipelineInputs},
		"many starts":      {func(p *PipelineSpec) { p.Inputs[0].Start = make([]uint64, TopicPartitionsMax+1) }, ErrPipelineInputs},
		"keys":             {func(p *PipelineSpec) { p.Into.Topic = kvTopic }, ErrPipelineInputs},
		"no output":        {func(p *PipelineSpec) { p.Into.Topic = 9 }, ErrNoTopic},
		"output partition": {func(p *PipelineSpec) { p.Into.Partition = 1 }, ErrNoPartition},
		"rocket output":    {func(p *PipelineSpec) { p.Into.Topic = rocket.ID() }, ErrNotSealed},
		"no input":         {func(p *PipelineSpec) { p.Inputs[0].Topic = 9 }, ErrNoTopic},
		"input partition":  {func(p *PipelineSpec) { p.Inputs[0] = PipelineInput{Topic: from.ID(), Partition: 2, Start: []uint64{0}} }, ErrNoPartition},
		"rocket input":     {func(p *PipelineSpec) { p.Inputs[0].Topic = rocket.ID() }, ErrNotSealed},
		"nothing":          {func(*PipelineSpec) {}, nil},
	} {
		w.start(w.recovered(Config{}, nil, 0)) // nothing is in flight
		spec := PipelineSpec{Name: "n", Text: []byte("t"), Into: record.Stream{Topic: to.ID()}, Inputs: []PipelineInput{{Topic: from.ID(), All: true}}}
		c.edit(&spec)
		if _, err := w.coordinator().CreatePipeline(w.opener(), &spec); err != c.want {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, err := w.coordinator().DeletePipeline(w.opener(), []byte("none")); err != ErrNoPipeline {
		t.Fatal(err)
	}
}

// Whoever asks for the same again waits for what is in flight, and then finds it.
func TestPipelinesAreCreatedOnce(t *testing.T) {
	w := newWorld(t, Config{})
	from, to := w.topic("from", 1), w.topic("to", 1)
	spec := PipelineSpec{Name: "p", Text: []byte("t"), Into: record.Stream{Topic: to.ID()}, Inputs: []PipelineInput{{Topic: from.ID(), All: true, Start: []uint64{3}}}}
	ask := func(edit func(p *PipelineSpec), want Change, wantErr error) {
		t.Helper()
		s := spec
		s.Inputs = slices.Clone(s.Inputs)
		edit(&s)
		if got, err := w.coordinator().CreatePipeline(w.opener(), &s); got != want || err != wantErr {
			t.Fatalf("%+v %v, want %+v %v", got, err, want, wantErr)
		}
	}
	same := func(*PipelineSpec) {}
	b := w.open[0]
	ask(same, Change{Made: b}, nil)
	ask(same, Change{Pending: b}, nil)
	w.commit()
	ask(same, Change{}, nil)
	ask(func(p *PipelineSpec) { p.Inputs[0].Start = []uint64{9} }, Change{}, nil)
	ask(func(p *PipelineSpec) { p.Text = []byte("u") }, Change{}, ErrPipelineExists)
	ask(func(p *PipelineSpec) { p.Inputs[0] = PipelineInput{Topic: from.ID(), Start: []uint64{3}} }, Change{}, ErrPipelineExists)
	first := w.e.Pipeline([]byte("p"))
	b = w.open[0]
	if got, err := w.coordinator().DeletePipeline(w.opener(), []byte("p")); got != (Change{Made: b}) || err != nil {
		t.Fatal(got, err)
	}
	if got, err := w.coordinator().DeletePipeline(w.opener(), []byte("p")); got != (Change{Pending: b}) || err != nil {
		t.Fatal(got, err)
	}
	ask(same, Change{Pending: b}, nil)
	w.commit()
	b = w.open[0]
	ask(same, Change{Made: b}, nil)
	w.commit()
	if next := w.e.Pipeline([]byte("p")); next.ID() != first.ID()+1 || w.e.PipelineByID(first.ID()) != nil || next.Created() != 5 {
		t.Fatalf("%+v after %+v", next, first)
	}
	full := errors.New("full")
	if _, err := w.coordinator().DeletePipeline(func(int) (*record.Batch, error) { return nil, full }, []byte("p")); err != full {
		t.Fatal(err)
	}
	spec.Name = "q"
	if _, err := w.coordinator().CreatePipeline(func(int) (*record.Batch, error) { return nil, full }, &spec); err != full {
		t.Fatal(err)
	}
}

func TestPipelineLimits(t *testing.T) {
	w := newWorld(t, Config{})
	from, to := w.topic("from", 1), w.topic("to", 1)
	create := func(name string, text int) error {
		_, err := w.coordinator().CreatePipeline(w.opener(), &PipelineSpec{
			Name: name, Text: bytes.Repeat([]byte("x"), text), Into: record.Stream{Topic: to.ID()}, Inputs: []PipelineInput{{Topic: from.ID(), All: true}},
		})
		return err
	}
	for i := range PipelinesMax {
		if err := create(fmt.Sprint(i), 1); err != nil {
			t.Fatal(err)
		}
		if i == 500 {
			w.commit()
		}
	}
	if err := create("more", 1); err != ErrPipelineLimit {
		t.Fatal(err)
	}
	w = newWorld(t, Config{})
	from, to = w.topic("from", 1), w.topic("to", 1)
	for i := range PipelineTextsMax / PipelineTextMax {
		if err := create(fmt.Sprint(i), PipelineTextMax); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 {
			w.commit()
		}
	}
	if err := create("more", 1); err != ErrPipelineLimit {
		t.Fatal(err)
	}
	w.commit()
	if _, err := w.coordinator().DeletePipeline(w.opener(), []byte("3")); err != nil {
		t.Fatal(err)
	}
	w.commit()
	if err := create("more", PipelineTextMax); err != nil {
		t.Fatal(err)
	}
}

// Every shard's part of a checkpoint may be of another moment: at each frame, the parts are captured in any order, with
// everything that happens in between.
func TestPipelinesAfterAFuzzyCheckpoint(t *testing.T) {
	const shards = 3
	sample := samplePipelines(t, shards)
	whole := sample.recovered(Config{}, nil, 0)
	sameState(t, sample.e, whole)
	parts := make([][][]byte, len(sample.frames)+1) // by frame and shard
	e := New(Config{Shards: shards})
	for i := range parts {
		if i > 0 {
			applyEverywhere(t, e, sample.frame(i))
		}
		for s := range shards {
			parts[i] = append(parts[i], e.Shard(s).AppendCheckpoint(nil))
		}
	}
	for after := range parts {
		for late := after; late < len(parts); late++ {
			for s := range shards {
				pick := slices.Clone(parts[after])
				pick[s] = parts[late][s] // this one was captured later
				sameState(t, whole, sample.recovered(Config{Shards: 2}, EncodeCheckpoint(pick), after))
				pick = slices.Clone(parts[late])
				pick[s] = parts[after][s] // this one was captured earlier
				sameState(t, whole, sample.recovered(Config{Shards: 4}, EncodeCheckpoint(pick), after))
			}
		}
	}
}

// A crash at any frame, with or without a checkpoint, leaves what the frames before it say, and steps go on from there.
func TestPipelinesAfterACrashAtEveryFrame(t *testing.T) {
	sample := samplePipelines(t, 2)
	for n := range len(sample.frames) + 1 {
		cut := &world{t: t, now: sample.now, last: sample.last, frames: slices.Clone(sample.frames[:n])}
		cut.start(cut.recovered(Config{Shards: 2}, nil, 0))
		again := cut.recovered(Config{Shards: 3}, cut.checkpoint(), n)
		sameState(t, cut.e, again)
		p := cut.e.Pipeline([]byte("run"))
		if p == nil {
			continue
		}
		g := cut.progress(p)
		from := p.Position(&g, 0, 1)
		if err := cut.step(p, PipelineStep{Number: g.Steps, PipelineRead: page(1, from, from+5)}, "row"); err != nil {
			t.Fatalf("after %d frames, step %d: %v", n, g.Steps, err)
		}
		next := cut.into(p).Next()
		cut.commit()
		if after := cut.progress(p); after.Steps != g.Steps+1 || after.Rows != g.Rows+1 || cut.into(p).Next() != next+1 {
			t.Fatalf("%+v", after)
		}
	}
}

func TestStepsInFlightAreForgotten(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	from, to := w.topic("from", 1), w.topic("to", 1)
	p := w.pipe("p", from, to)
	shard := w.into(p).Shard()
	if err := w.step(p, PipelineStep{PipelineRead: page(0, 0, 1), HasState: true}, "a"); err != nil {
		t.Fatal(err)
	}
	b := w.open[shard]
	w.open[shard] = w.newBatch()
	w.e.Shard(shard).Forget()
	if g := w.progress(p); g.InFlight != 0 || g.Steps != 0 || len(w.e.Shard(shard).pipelines) != 0 {
		t.Fatalf("%+v", g)
	}
	// It was committed after all, and comes back as any node's.
	w.open[shard] = b
	index := w.append(shard)
	w.flying[shard] = nil
	applyEverywhere(t, w.e, w.frame(int(index)))
	if err := w.step(p, PipelineStep{PipelineRead: page(0, 0, 1)}, "a"); err != ErrStale {
		t.Fatal(err)
	}
	if err := w.step(p, PipelineStep{Number: 1, PipelineRead: page(0, 1, 2)}, "b"); err != nil {
		t.Fatal(err)
	}
	if err := w.step(p, PipelineStep{Number: 2, PipelineRead: page(0, 2, 3)}, "c"); err != nil {
		t.Fatal(err)
	}
	// Creation and deletion in flight are given back, too.
	if _, err := w.coordinator().DeletePipeline(w.opener(), []byte("p")); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		w.e.Shard(i).Forget()
		w.open[i] = w.newBatch()
	}
	if c, err := w.coordinator().DeletePipeline(w.opener(), []byte("p")); c.Made == nil || err != nil {
		t.Fatal(c, err)
	}
	if g := w.progress(p); g.InFlight != 0 || g.Steps != 1 || g.Rows != 1 {
		t.Fatalf("%+v", g)
	}
	w.e.Shard(0).Forget()
	w.open[0] = w.newBatch()
	w.pipe("q", from, to)
	if id := w.e.Pipeline([]byte("q")).ID(); id != 2 {
		t.Fatal(id)
	}
}

// A step that is in flight when its pipeline goes writes its rows and leaves nothing else, in whichever order shards see the two.
func TestStepsOfADeletedPipeline(t *testing.T) {
	for _, stepFirst := range []bool{false, true} {
		w := newWorld(t, Config{Shards: 2})
		from := w.topic("from", 1)
		other := w.topic("other", 2)
		into := other.Partition(0)
		if into.Shard() == 0 {
			into = other.Partition(1)
		}
		spec := &PipelineSpec{Name: "p", Text: []byte("t"), Into: into.Stream(), Inputs: []PipelineInput{{Topic: from.ID(), All: true}}}
		if _, err := w.coordinator().CreatePipeline(w.opener(), spec); err != nil {
			t.Fatal(err)
		}
		w.commit()
		p := w.e.Pipeline([]byte("p"))
		if err := w.step(p, PipelineStep{PipelineRead: page(0, 0, 1), HasState: true, State: []byte("s")}, "a"); err != nil {
			t.Fatal(err)
		}
		w.commit()
		if err := w.step(p, PipelineStep{Number: 1, PipelineRead: page(0, 1, 2)}, "b"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.coordinator().DeletePipeline(w.opener(), []byte("p")); err != nil {
			t.Fatal(err)
		}
		w.append(0) // the deletion is before the step in the log
		w.append(1)
		if stepFirst {
			w.apply(1)
			w.apply(0)
		} else {
			w.apply(0)
			w.apply(1)
		}
		sameState(t, w.e, w.recovered(Config{}, nil, 0))
		sameState(t, w.e, w.recovered(Config{Shards: 3}, w.checkpoint(), len(w.frames)))
		w.produce(into, "x", "") // the shard's next frame has it give up what it keeps
		w.commit()
		if n := len(w.e.Shard(1).pipelines); n != 0 || w.e.pipelines.states.Load() != 0 || into.Next() != 3 {
			t.Fatalf("%d are kept, %d bytes, %d messages", n, w.e.pipelines.states.Load(), into.Next())
		}
	}
}

func TestTheOutputIsDeleted(t *testing.T) {
	w := newWorld(t, Config{Shards: 2})
	from, to := w.topic("from", 1), w.topic("to", 2)
	p := w.pipe("p", from, to)
	if err := w.step(p, PipelineStep{PipelineRead: page(0, 0, 1), HasState: true, State: []byte("s")}, "a"); err != nil {
		t.Fatal(err)
	}
	w.commit()
	checkpoint, after := w.checkpoint(), len(w.frames)
	if err := w.step(p, PipelineStep{Number: 1, PipelineRead: page(0, 1, 2)}, "b"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.coordinator().DeleteTopic(w.open[0], []byte("to")); err != nil {
		t.Fatal(err)
	}
	w.commit()
	w.produce(from.Partition(0), "x", "")
	w.commit()
	w.produce(w.topic("another", 1).Partition(0), "x", "")
	w.commit()
	if w.e.Pipeline([]byte("p")) != p || w.into(p) != nil || len(w.e.Shard(0).pipelines)+len(w.e.Shard(1).pipelines) != 0 {
		t.Fatal("the pipeline is gone, or its progress is not")
	}
	sameState(t, w.e, w.recovered(Config{}, checkpoint, after))
	sameState(t, w.e, w.recovered(Config{}, w.checkpoint(), len(w.frames)))
}

// What the log says of pipelines, but cannot be.
func TestPipelineCommandsThatDoNotFollow(t *testing.T) {
	create := func(edit func(b []byte)) []byte {
		spec := PipelineSpec{Name: "q", Text: []byte("t"), Into: record.Stream{Topic: 2}, Inputs: []PipelineInput{{Topic: 1, All: true, Start: []uint64{1}}}}
		b := spec.appendTo(nil)
		edit(b)
		return b
	}
	step := func(edit func(s *PipelineStep)) []byte {
		s := PipelineStep{Pipeline: 1, PipelineRead: page(0, 3, 5)}
		edit(&s)
		return s.appendTo(nil, 1)
	}
	good, goodStep := create(func([]byte) {}), step(func(*PipelineStep) {})
	with := func(b []byte, at int, c byte) []byte {
		b = bytes.Clone(b)
		b[at] = c
		return b
	}
	into := record.Stream{Topic: 2}
	for name, c := range map[string]struct {
		typ    record.SectionType
		stream record.Stream
		base   uint64
		body   []byte
	}{
		"create: stream":        {record.SectionPipelineCreate, into, 2, good},
		"create: id":            {record.SectionPipelineCreate, record.Stream{}, 3, good},
		"create: id of 64 bits": {record.SectionPipelineCreate, record.Stream{}, 1<<32 + 2, good},
		"create: short":         {record.SectionPipelineCreate, record.Stream{}, 2, good[:len(good)-1]},
		"create: long":          {record.SectionPipelineCreate, record.Stream{}, 2, append(bytes.Clone(good), 0)},
		"create: empty":         {record.SectionPipelineCreate, record.Stream{}, 2, nil},
		"create: version":       {record.SectionPipelineCreate, record.Stream{}, 2, with(good, 0, 2)},
		"create: inputs":        {record.SectionPipelineCreate, record.Stream{}, 2, with(good, 1, 0)},
		"create: reserved":      {record.SectionPipelineCreate, record.Stream{}, 2, with(good, 3, 1)},
		"create: all of three":  {record.SectionPipelineCreate, record.Stream{}, 2, with(good, 16+1+8, 3)},
		"create: reserved too":  {record.SectionPipelineCreate, record.Stream{}, 2, with(good, 16+1+9, 1)},
		"create: name":          {record.SectionPipelineCreate, record.Stream{}, 2, with(good, 16, '/')},
		"create: name is taken": {record.SectionPipelineCreate, record.Stream{}, 2, with(good, 16, 'p')},
		"delete: stream":        {record.SectionPipelineDelete, into, 1, nil},
		"delete: body":          {record.SectionPipelineDelete, record.Stream{}, 1, []byte{0}},
		"delete: id":            {record.SectionPipelineDelete, record.Stream{}, 2, nil},
		"delete: id 0":          {record.SectionPipelineDelete, record.Stream{}, 0, nil},
		"delete: 64 bits":       {record.SectionPipelineDelete, record.Stream{}, 1<<32 + 1, nil},
		"step: pipeline":        {record.SectionPipelineStep, into, 1, step(func(s *PipelineStep) { s.Pipeline = 2 })},
		"step: pipeline 0":      {record.SectionPipelineStep, into, 1, step(func(s *PipelineStep) { s.Pipeline = 0 })},
		"step: number":          {record.SectionPipelineStep, into, 0, goodStep},
		"step: number ahead":    {record.SectionPipelineStep, into, 2, goodStep},
		"step: partition":       {record.SectionPipelineStep, record.Stream{Topic: 2, Partition: 1}, 1, goodStep},
		"step: rocket":          {record.SectionPipelineStep, record.Stream{Topic: 3}, 1, goodStep},
		"step: keys":            {record.SectionPipelineStep, record.Stream{}, 1, goodStep},
		"step: no topic":        {record.SectionPipelineStep, record.Stream{Topic: 9}, 1, goodStep},
		"step: page":            {record.SectionPipelineStep, into, 1, step(func(s *PipelineStep) { s.Pages[0].From = 4 })},
		"step: of nothing":      {record.SectionPipelineStep, into, 1, step(func(s *PipelineStep) { s.Pages[0].To = 3 })},
		"step: source":          {record.SectionPipelineStep, into, 1, step(func(s *PipelineStep) { s.Pages[0].Source = 1 })},
		"step: short":           {record.SectionPipelineStep, into, 1, goodStep[:stepHeadBytes-1]},
		"step: state":           {record.SectionPipelineStep, into, 1, append(bytes.Clone(goodStep), 0)},
		"step: has 2 states":    {record.SectionPipelineStep, into, 1, with(goodStep, 22, 2)},
		"step: reserved":        {record.SectionPipelineStep, into, 1, with(goodStep, 23, 1)},
		"step: source of 32":    {record.SectionPipelineStep, into, 1, with(goodStep, 29, 1)},
		"step: no pages":        {record.SectionPipelineStep, into, 1, step(func(s *PipelineStep) { s.Pages = nil })},
		"step: page twice":      {record.SectionPipelineStep, into, 1, step(func(s *PipelineStep) { s.Pages = append(s.Pages, s.Pages[0]) })},
	} {
		w := newWorld(t, Config{})
		from, to := w.topic("from", 1), w.topic("to", 2)
		if _, err := w.coordinator().CreateTopic(w.open[0], TopicSpec{Name: "rocket", Partitions: 1, Mode: Rocket}); err != nil {
			t.Fatal(err)
		}
		w.commit()
		p := w.pipe("p", from, to)
		if err := w.step(p, PipelineStep{PipelineRead: page(0, 0, 3)}); err != nil {
			t.Fatal(err)
		}
		w.commit()
		w.open[0].AppendCommand(c.typ, c.stream, c.base, c.body)
		w.append(0)
		if err := w.e.ApplyReplay(w.frame(len(w.frames))); !errors.Is(err, ErrDiverged) && !errors.Is(err, record.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestImpossiblePipelinesInACheckpoint(t *testing.T) {
	w := samplePipelines(t, 2)
	for name, x := range map[string]extension{"list": {capture: capturePipelines, restore: restorePipelines}, "progress": {capture: captureProgress, restore: restoreProgress}} {
		good := x.capture(w.e, nil)(nil)
		restore := func(b []byte) error {
			e := New(Config{Shards: 2})
			for id := uint32(1); id <= 3; id++ {
				if err := e.addTopic(id, w.e.TopicByID(id).Spec(), uint64(id)); err != nil {
					t.Fatal(err)
				}
			}
			d := decoder{left: b}
			if err := x.restore(e, &d); err != nil {
				return err
			}
			return d.end()
		}
		if err := restore(good); err != nil {
			t.Fatal(name, err)
		}
		for n := range good {
			if err := restore(good[:n]); err == nil {
				t.Fatalf("%s: %d of %d bytes are no error", name, n, len(good))
			}
			bad := bytes.Clone(good)
			bad[n] ^= 0x81
			_ = restore(bad) // may do no harm
			if n+4 <= len(bad) {
				binary.LittleEndian.PutUint32(bad[n:], 1<<32-1)
				_ = restore(bad)
			}
		}
		d := decoder{left: good}
		if err := x.restore(w.e, &d); err == nil {
			t.Fatal(name, "in two parts")
		}
	}
	for name, edit := range map[string]func(c *capturedProgress){
		"nothing":           func(*capturedProgress) {},
		"id 0":              func(c *capturedProgress) { c.id = 0 },
		"no steps":          func(c *capturedProgress) { c.Steps = 0 },
		"more pages":        func(c *capturedProgress) { c.Steps = 1 },
		"no partition":      func(c *capturedProgress) { c.into.Partition = 1 },
		"positions' order":  func(c *capturedProgress) { c.Positions[0], c.Positions[1] = c.Positions[1], c.Positions[0] },
		"source":            func(c *capturedProgress) { c.Positions[1].Source = 2 },
		"page of nothing":   func(c *capturedProgress) { c.Journal[0].Pages[0].To = 0 },
		"page of no source": func(c *capturedProgress) { c.Journal[0].Pages[0].Source = 1 },
	} {
		e := New(Config{})
		if err := e.addTopic(1, TopicSpec{Name: "t", Partitions: 1}, 1); err != nil {
			t.Fatal(err)
		}
		c := capturedProgress{3, record.Stream{Topic: 1}, PipelineProgress{
			Steps: 2, Positions: []PipelinePosition{{0, 0, 4}, {0, 1, 2}}, Journal: []PipelineRead{page(1, 0, 2), page(0, 0, 4)}, State: []byte("s"),
		}}
		edit(&c)
		err := restoreProgress(e, &decoder{left: c.appendTo(binary.LittleEndian.AppendUint32(nil, 1))})
		if (err == nil) != (name == "nothing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Capturing is cheap and encodes what there was, whatever happens meanwhile.
func TestPipelinesAreCapturedAsTheyWere(t *testing.T) {
	w := samplePipelines(t, 1)
	want := w.checkpoint()
	c := w.e.Shard(0).Capture()
	p := w.e.Pipeline([]byte("run"))
	for i := range 100 {
		g := w.progress(p)
		from := p.Position(&g, 0, 0)
		if err := w.step(p, PipelineStep{Number: g.Steps, PipelineRead: page(0, from, from+1), HasState: i%7 == 0}); err != nil {
			t.Fatal(err)
		}
		w.commit()
	}
	if _, err := w.coordinator().DeletePipeline(w.opener(), []byte("idle")); err != nil {
		t.Fatal(err)
	}
	w.commit()
	if !bytes.Equal(EncodeCaptures([]*Capture{c}), want) {
		t.Fatal("a capture changed after it was made")
	}
}
