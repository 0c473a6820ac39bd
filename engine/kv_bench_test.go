package engine

import (
	"fmt"
	"testing"

	"ayder/internal/record"
)

// BenchmarkKVPut is deciding, encoding and applying puts of 64 bytes, 64 in a batch.
func BenchmarkKVPut(b *testing.B) {
	for _, keys := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			e := New(Config{})
			s, batch := e.Shard(0), record.NewBatch()
			var full, name []byte
			value := make([]byte, 64)
			bucket := KVBucketOf([]byte("bench"))
			index := uint64(0)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				name = treeKeyOf(uint64(i%keys), name)
				full = AppendKVKey(full[:0], []byte("bench"), name[6:])
				if _, err := s.KVPut(batch, bucket, full, value, KVOptions{}); err != nil {
					b.Fatal(err)
				}
				if i%64 == 63 {
					index++
					batch.Seal(record.Header{Index: index, Term: 1, TimeMs: 1}, 1)
					if err := s.Apply(batch.Frame()); err != nil {
						b.Fatal(err)
					}
					batch.Reset(1 << 20)
				}
			}
		})
	}
}
