//go:build unix

package uring

import (
	"os"
	"testing"
	"unsafe"
)

func TestAnon(t *testing.T) {
	for _, size := range []int{1, 100, 4096, 1 << 20} {
		b, err := Anon(size)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) != size {
			t.Errorf("%d bytes of %d", len(b), size)
		}
		if at := uintptr(unsafe.Pointer(&b[0])); at%uintptr(os.Getpagesize()) != 0 {
			t.Errorf("%d bytes start at %#x", size, at)
		}
		for i, c := range b {
			if c != 0 {
				t.Fatalf("byte %d is %d", i, c)
			}
		}
		b[0], b[size-1] = 1, 1
		if err := FreeAnon(b); err != nil {
			t.Error(err)
		}
	}
}

func TestFreeAnon(t *testing.T) {
	b, err := Anon(8192)
	if err != nil {
		t.Fatal(err)
	}
	if err := FreeAnon(b[100:]); err == nil {
		t.Error("freed from the middle")
	}
	if err := FreeAnon(b[:100]); err != nil {
		t.Errorf("shortened: %v", err)
	}
	if err := FreeAnon(b); err == nil {
		t.Error("freed twice")
	}
	if err := FreeAnon(nil); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

func TestAnonRefuses(t *testing.T) {
	for _, size := range []int{0, -1} {
		if _, err := Anon(size); err == nil {
			t.Errorf("%d bytes given", size)
		}
	}
}
