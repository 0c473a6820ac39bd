package aof_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"ayder/aof"
	"ayder/internal/record"
)

// framesOf opens a log and lists what is replayed of it.
func framesOf(t *testing.T, dir string) (l *aof.Log, frames []string) {
	t.Helper()
	index, _, err := aof.LoadCheckpoint(nil, dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err = aof.OpenQuiet(aof.Options{Dir: dir, ReplayAfter: index}, func(f record.Frame) error {
		frames = append(frames, fmt.Sprint(f.Index, f.TimeMs, f.Kind, f.Payload))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, frames
}

// copyPiece copies a piece a thousand bytes at a time.
func copyPiece(t *testing.T, l *aof.Log, p *aof.Piece, limit uint64) string {
	t.Helper()
	var all []byte
	for b := make([]byte, 1000); ; {
		n, err := l.ReadPiece(p.Name, p.ID, b, int64(len(all)), limit)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || n == 0 {
			t.Fatal(p.Name, n, err)
		}
		all = append(all, b[:n]...)
	}
	if int64(len(all)) != p.Size {
		t.Errorf("%s has %d bytes, the list says %d", p.Name, len(all), p.Size)
	}
	path := filepath.Join(t.TempDir(), p.Name)
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What is listed and read of the golden logs, one of them rewritten in part, is a log with the same frames; of a whole one it can end
// after any of them.
func TestCopiesAreLogs(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		dir := filepath.Join(t.TempDir(), "log")
		if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", version))); err != nil {
			t.Fatal(err)
		}
		l, want := framesOf(t, dir)
		c, err := l.Contents(nil)
		if err != nil || c.Index != goldenBatches {
			t.Fatalf("%+v %v", c, err)
		}
		if whole := version == "v1"; whole != (c.WholeFrom == 0) {
			t.Errorf("%s: whole from %d", version, c.WholeFrom)
		}
		into := filepath.Join(t.TempDir(), "copy")
		if err := os.MkdirAll(into, 0o755); err != nil {
			t.Fatal(err)
		}
		copier := aof.NewCopier(nil, into, nil)
		for i := range c.Pieces {
			p := &c.Pieces[i]
			path := copyPiece(t, l, p, c.Index)
			if p.IsCheckpoint() {
				index, payload, err := aof.ReadCheckpoint(nil, path)
				if err == nil {
					err = copier.Checkpoint(index, payload)
				}
				if err != nil || p.Reach < index || p.Reach > c.Index {
					t.Fatalf("%+v %v", p, err)
				}
				continue
			}
			info, err := aof.ScanPiece(nil, path, p.Size, nil)
			if err != nil || info.End != p.Size || info.Last != p.Last || info.First != p.First || info.Rewritten != p.Rewritten || info.ID != p.ID {
				t.Errorf("%+v of %+v: %v", info, p, err)
			}
			if last, err := copier.Segment(path, p.Size, c.Index); err != nil || last != p.Last {
				t.Fatal(last, err)
			}
		}
		again, got := framesOf(t, into)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %d frames, want %d", version, len(got), len(want))
		}
		other, err := again.Contents(nil)
		if err != nil || other.Log == c.Log || other.Index != c.Index {
			t.Errorf("%+v %v", other, err)
		}
	}
}

// Of what is not committed nothing is listed, and nothing read; other names and ids are not there.
func TestContentsEndWithTheCommit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(dir, os.DirFS("testdata/v1")); err != nil {
		t.Fatal(err)
	}
	l, _ := framesOf(t, dir)
	for committed := uint64(goldenMarked); committed <= goldenBatches; committed++ {
		c, err := l.Contents(func() uint64 { return committed })
		if err != nil || c.Index != committed || c.TimeMs != goldenBatch(committed).TimeMs {
			t.Fatalf("%d: %+v %v", committed, c, err)
		}
		last := &c.Pieces[len(c.Pieces)-1]
		path := copyPiece(t, l, last, committed)
		info, err := aof.ScanPiece(nil, path, last.Size, nil)
		if err != nil || info.Last != committed || info.End != last.Size {
			t.Errorf("%d: %+v %v", committed, info, err)
		}
		text, err := os.ReadFile(path)
		if err != nil || info.Last < goldenBatches && bytes.Contains(text, fmt.Appendf(nil, "message %d", committed+1)) {
			t.Errorf("%d: what is not committed was read (%v)", committed, err)
		}
	}
	b := make([]byte, 10)
	for _, name := range []string{"00000000000000000001.aof", "checkpoint-00000000000000000025.ckp", "LOCK", "../x", "00000000000000000001.idx", ""} {
		if n, err := l.ReadPiece(name, "0123456789abcdef", b, 0, goldenBatches); !errors.Is(err, aof.ErrNotFound) {
			t.Errorf("%q: %d bytes, %v", name, n, err)
		}
	}
}
