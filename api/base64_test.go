package api

import (
	"bytes"
	"encoding/base64"
	"testing"
)

func FuzzAppendBase64(f *testing.F) {
	for n := range 20 {
		f.Add(bytes.Repeat([]byte{0xa7, 0x01, 0xfe}, n)[:n])
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		got := string(appendBase64([]byte("before"), src))
		if want := "before" + base64.StdEncoding.EncodeToString(src); got != want {
			t.Fatalf("%x: %q, want %q", src, got, want)
		}
	})
}

func BenchmarkAppendBase64(b *testing.B) {
	src, dst := make([]byte, 64), make([]byte, 0, 100)
	b.Run("ours", func(b *testing.B) {
		for b.Loop() {
			dst = appendBase64(dst[:0], src)
		}
	})
	b.Run("standard", func(b *testing.B) {
		for b.Loop() {
			dst = base64.StdEncoding.AppendEncode(dst[:0], src)
		}
	})
}
