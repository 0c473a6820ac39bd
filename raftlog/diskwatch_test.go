package raftlog

import (
	"testing"

	"ayder/aof"
	"ayder/internal/record"
	"ayder/internal/testkit"
)

// The first look at an empty log whose first entry is on its way to the disk is no sign of a disk that hangs.
func TestTheFirstWriteIsNoHungDisk(t *testing.T) {
	fs := testkit.NewMemFS(1)
	release := make(chan struct{})
	log, err := aof.Open(aof.Options{Dir: "/d", FS: fs, SegmentBytes: 1 << 20, FrameBytesMax: 64 << 10}, nil)
	if err != nil {
		t.Fatal(err)
	}
	thread := log.NewThread(aof.ThreadOptions{})
	until(t, "room", log.Room)
	fs.Pace(func(int) { <-release })
	b := record.NewBatch()
	b.Load(&record.Header{Kind: record.KindRaft, Term: 1}, []byte("x"))
	if err := thread.Append([]*record.Batch{b}); err != nil {
		t.Fatal(err)
	}
	n := &Node{o: Options{Log: log, Fatal: func(err error) { t.Error(err) }}}
	n.o.setDefaults()
	var d diskWatch
	for range 3 {
		d.look(n)
	}
	close(release)
	thread.Close()
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}
