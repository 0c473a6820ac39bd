package engine

import (
	"encoding/binary"
	"fmt"
)

// Extensions: what a checkpoint holds besides topics and partitions.
//
// Each kind of state has one line in the table. Its capture is taken on the shard's loop, like everything of a Capture, so
// it takes microseconds and refers to what will not change; the function that it returns encodes on any goroutine. What
// is encoded must not depend on how many shards there are, except that each encodes its own.

// extension is one kind of further state.
type extension struct {
	tag     uint32                                          // on disk, never used again for anything else
	capture func(e *Engine, owner *Shard) capturedExtension // of one shard, of all where owner is nil; nil: there is none
	restore func(e *Engine, d *decoder) error               // takes all of d
}

// capturedExtension encodes state as it was when it was captured.
type capturedExtension func(dst []byte) []byte

// extensionTable is every kind of further state, by rising tags.
func extensionTable() []extension {
	return []extension{
		{1, captureRetention, restoreRetention},
		{membersTag, captureMembers, restoreMembers},
		{kvExtension, captureKV, restoreKV},
		{schemasTag, captureSchemas, restoreSchemas},
		{pipelinesTag, capturePipelines, restorePipelines},
		{progressTag, captureProgress, restoreProgress},
	}
}

// extend captures further state of owner, of all shards where that is nil.
func (c *Capture) extend(owner *Shard) {
	table := extensionTable()
	c.extensions = make([]capturedExtension, len(table))
	for i := range table {
		c.extensions[i] = table[i].capture(c.engine, owner)
	}
}

// appendExtensions encodes what was captured.
func (c *Capture) appendExtensions(dst []byte) []byte {
	le := binary.LittleEndian
	at, count := len(dst), uint32(0)
	dst = le.AppendUint32(dst, 0)
	table := extensionTable()
	for i, encode := range c.extensions {
		if encode == nil {
			continue
		}
		count++
		dst = le.AppendUint32(dst, table[i].tag)
		dst = le.AppendUint64(dst, 0)
		start := len(dst)
		dst = encode(dst)
		le.PutUint64(dst[start-8:], uint64(len(dst)-start))
	}
	le.PutUint32(dst[at:], count)
	return dst
}

// restoreExtensions takes what appendExtensions wrote.
func (e *Engine) restoreExtensions(d *decoder) error {
	for range d.u32() {
		tag := d.u32()
		body := decoder{left: d.bytes(d.u64()), version: d.version}
		if d.failed {
			return errShort
		}
		if err := e.restoreExtension(tag, &body); err != nil {
			return fmt.Errorf("extension %d: %w", tag, err)
		}
	}
	return nil
}

func (e *Engine) restoreExtension(tag uint32, d *decoder) error {
	for _, x := range extensionTable() {
		if x.tag != tag {
			continue
		}
		if err := x.restore(e, d); err != nil {
			return err
		}
		return d.end()
	}
	return fmt.Errorf("unknown: written by a newer version")
}
