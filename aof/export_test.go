package aof

// What the tests, which are in package aof_test because testkit imports this package, reach of the inside.

// Manual makes Open start no goroutines: Step runs what they would do.
func (o *Options) Manual() { o.manual = true }

// AckEarly makes the log acknowledge before the write is done: a bug on purpose.
func (o *Options) AckEarly() { o.ackEarly = true }

// KeepStale makes recovery leave the bytes behind the end of the log: a bug on purpose.
func (o *Options) KeepStale() { o.keepStale = true }

// LooseRewrite, RemoveFirst and RewriteAll make Reclaim do things in the wrong order, or to the wrong segments: bugs on purpose.
func (o *Options) LooseRewrite() { o.looseRewrite = true }
func (o *Options) RemoveFirst()  { o.removeFirst = true }
func (o *Options) RewriteAll()   { o.rewriteAll = true }

// Seeds gives segments these seeds instead of random ones.
func (o *Options) Seeds(next func() uint64) { o.newSeed = next }

// Step runs one step of each of the log's goroutines.
func (l *Log) Step() {
	l.keep()
	l.indexSealed()
}

// StepIndexer runs a step of the indexer alone.
func (l *Log) StepIndexer() { l.indexSealed() }

// Abandon gives memory back after a simulated crash: nothing that was in flight will ever complete.
func (l *Log) Abandon() {
	l.kernelWrites.Store(0)
	_ = l.Close()
}

// Current is the write that a manual log's Thread has under way; ok is false if there is none.
func (t *Thread) Current() (f File, p []byte, off int64, ok bool) {
	g := t.current
	if g.seg == nil {
		return nil, nil, 0, false
	}
	return g.seg.file, g.blocks(), g.from, true
}

// Written ends that write.
func (t *Thread) Written(err error) {
	g := t.current
	t.written(&g, 0, err)
}
