package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"ayder/aof"
)

// A run: ask the source for a list of pieces, copy what is not there, verify it, replace backup.json. A piece that is
// listed with its checksum is not looked at again. One that is not begins where its good frames end, whoever was interrupted
// there; so a run that was killed costs what it had not synced, and the next one needs to know nothing of it.
//
// What has gone at the source before it was copied was rewritten or dropped there; then the source's present list counts, most of which has come
// already.

// Source is a log that is to be copied.
type Source interface {
	// Contents lists what belongs together now.
	Contents(ctx context.Context) (*aof.Contents, error)
	// Read reads bytes of a piece; fewer than asked for are no error, none are. The error wraps ErrGone when the
	// piece is not the log's any more.
	Read(ctx context.Context, p *aof.Piece, b []byte, off int64) (int, error)
}

// Result is what a run did.
type Result struct {
	Point                   Point
	Fetched, Kept           int   // files; one that grew was fetched
	FetchedBytes, KeptBytes int64 // that were copied; that were there
	Removed                 int   // files that no point needs any more
}

// Options of a run.
type Options struct {
	Keep     int                        // points, 0: all
	Progress func(name string, n int64) // told of every read; may be nil
}

// Run adds a point to the backup in dir, which is made if it is missing.
func Run(ctx context.Context, src Source, dir string, o Options) (*Result, error) {
	lock, err := aof.OS().Lock(dir)
	if err != nil {
		if errors.Is(err, aof.ErrLocked) {
			return nil, fmt.Errorf("%s: another backup is being written there", dir)
		}
		return nil, noRoom(err)
	}
	defer lock.Close()
	r := &run{ctx: ctx, src: src, dir: dir, o: o, result: &Result{}}
	if r.list, err = Load(dir); errors.Is(err, ErrNotOne) {
		r.list, err = &List{Format: 1}, mustBeOurs(dir)
	}
	if err == nil {
		err = r.copy()
	}
	if err != nil {
		return nil, fmt.Errorf("backup to %s: %w", dir, noRoom(err))
	}
	return r.result, nil
}

// noRoom says of a full disk what that means here.
func noRoom(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fmt.Errorf("%w: %w", errNoRoom, err)
	}
	return err
}

// mustBeOurs refuses a directory without a list that has anything but the beginning of a backup in it.
func mustBeOurs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		piece, _, ok := strings.Cut(e.Name(), "@")
		if ours := ok && aof.Owns(piece); !ours && !slices.Contains([]string{"LOCK", "lost+found", listName + tmpSuffix}, e.Name()) {
			return fmt.Errorf("%w, and not empty: there is %s", ErrNotOne, e.Name())
		}
	}
	return nil
}

// run is one at work.
type run struct {
	ctx    context.Context
	src    Source
	dir    string
	o      Options
	list   *List
	result *Result
	fresh  []File // what came in this run
}

// copy brings everything of a list, and then makes it a point.
func (r *run) copy() error {
	for range listTries {
		c, err := r.src.Contents(r.ctx)
		if err != nil {
			return err
		}
		if err := r.accept(c); err != nil {
			return err
		}
		err = r.pieces(c)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return err
		}
		return r.finish(c)
	}
	return errors.New("files are rewritten or dropped faster than they can be copied")
}

// accept judges the source's list.
func (r *run) accept(c *aof.Contents) error {
	if r.list.Log != "" && c.Log != r.list.Log {
		return fmt.Errorf("%w (%s, the server's is %s): choose an empty directory", ErrForeign, r.list.Log, c.Log)
	}
	if p := r.list.newest(); p != nil && c.Index < p.Index {
		return fmt.Errorf("the log ends at index %d, the backup goes to %d already", c.Index, p.Index)
	}
	for i := range c.Pieces {
		if err := checkPiece(&c.Pieces[i]); err != nil {
			return err
		}
	}
	return nil
}

// pieces copies what is not there.
func (r *run) pieces(c *aof.Contents) error {
	for i := range c.Pieces {
		p := &c.Pieces[i]
		if f := r.have(p); f != nil {
			continue
		}
		if err := r.piece(c, p); err != nil {
			return fmt.Errorf("%s: %w", name(p), err)
		}
	}
	return nil
}

// have returns the file of a piece that has come whole, in this run or an earlier one.
func (r *run) have(p *aof.Piece) *File {
	for i := range r.fresh {
		if f := &r.fresh[i]; f.ID == p.ID && f.Name == p.Name && f.Size >= p.Size {
			return f
		}
	}
	f := r.list.find(p)
	if f == nil || f.Size < p.Size {
		return nil
	}
	if info, err := os.Stat(filepath.Join(r.dir, name(p))); err != nil || info.Size() < f.Size {
		return nil // it was lost
	}
	return f
}

// piece copies one, or the rest of it.
func (r *run) piece(c *aof.Contents, p *aof.Piece) error {
	path := filepath.Join(r.dir, name(p))
	at := path
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		at += partSuffix
	}
	from, err := r.begun(c, p, at)
	if err != nil {
		return err
	}
	if at == path && from == 0 { // of no use: it makes place only for one that is
		at += partSuffix
	}
	if err := r.fetch(p, at, from); err != nil {
		return err
	}
	f, err := r.examine(c, p, at)
	if err != nil {
		return err
	}
	if at != path {
		if err := os.Rename(at, path); err != nil {
			return err
		}
	}
	r.fresh = append(r.fresh, f)
	r.result.Fetched++
	r.result.FetchedBytes += p.Size - from
	r.result.KeptBytes += from
	return nil
}

// begun is how much of a piece is there and good.
func (r *run) begun(c *aof.Contents, p *aof.Piece, path string) (int64, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if p.IsCheckpoint() {
		if index, _, err := aof.ReadCheckpoint(nil, path); err == nil && index == p.Last && info.Size() == p.Size && idOf(path) == p.ID {
			return p.Size, nil
		}
		return 0, nil
	}
	i, err := aof.ScanPiece(nil, path, min(info.Size(), p.Size), nil)
	if err != nil || i.ID != p.ID || i.Log != c.Log || i.Frames == 0 {
		return 0, nil
	}
	return i.End, nil
}

// idOf is the id of a copy, empty if it cannot be read.
func idOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	id, err := aof.FileID(f)
	if err != nil {
		return ""
	}
	return id
}

// fetch copies the bytes of a piece from an offset on, behind what is there, and syncs.
func (r *run) fetch(p *aof.Piece, path string, from int64) (err error) {
	out, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if from < p.Size {
		if err := r.compare(p, out, from); err != nil {
			return err
		}
	}
	if err := out.Truncate(from); err != nil {
		return err
	}
	b := make([]byte, readBytes)
	for from < p.Size {
		n, err := r.read(p, b[:min(int64(len(b)), p.Size-from)], from)
		if err != nil {
			return err
		}
		if _, err := out.WriteAt(b[:n], from); err != nil {
			return err
		}
		from += int64(n)
		if r.o.Progress != nil {
			r.o.Progress(name(p), int64(n))
		}
	}
	return out.Sync()
}

func (r *run) read(p *aof.Piece, b []byte, off int64) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.src.Read(r.ctx, p, b, off)
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// compare makes sure that what is there is of the same log: a copy of a data directory that went its own way has the same names and ids.
func (r *run) compare(p *aof.Piece, out *os.File, end int64) error {
	from := max(0, end-overlapBytes)
	ours := make([]byte, end-from)
	if _, err := out.ReadAt(ours, from); err != nil {
		return err
	}
	for theirs := make([]byte, len(ours)); len(ours) > 0; {
		n, err := r.read(p, theirs[:len(ours)], from)
		if err != nil {
			return err
		}
		if !bytes.Equal(theirs[:n], ours[:n]) {
			return fmt.Errorf("%w: it has the same id, but went another way since: choose an empty directory", ErrForeign)
		}
		ours, from = ours[n:], from+int64(n)
	}
	return nil
}

// examine verifies what has come.
func (r *run) examine(c *aof.Contents, p *aof.Piece, path string) (f File, err error) {
	f.Piece = *p
	if p.IsCheckpoint() {
		index, _, err := aof.ReadCheckpoint(nil, path)
		if err == nil && index != p.Last {
			err = fmt.Errorf("%w: made at index %d", aof.ErrDamaged, index)
		}
		if err != nil {
			return f, errors.Join(err, os.Remove(path))
		}
	} else {
		i, err := aof.ScanPiece(nil, path, p.Size, nil)
		switch {
		case err != nil:
			return f, errors.Join(err, os.Remove(path))
		case i.Log != c.Log || i.ID != p.ID || i.Rewritten != p.Rewritten || i.First != p.First:
			return f, errors.Join(fmt.Errorf("%w: another file came", aof.ErrDamaged), os.Remove(path))
		case i.End != p.Size || i.Last != p.Last:
			return f, fmt.Errorf("%w at the source: byte %d, index %d: %v (stop the server; ayder check and ayder repair say more)", aof.ErrDamaged, i.End, i.Last+1, i.Reason)
		}
		f.TimeMs, f.LastMs = i.TimeMs, i.LastMs
	}
	f.SHA256, err = hashFile(path, p.Size)
	return f, err
}

// finish makes the list that was copied the newest point.
func (r *run) finish(c *aof.Contents) error {
	if err := aof.OS().SyncDir(r.dir); err != nil {
		return err
	}
	point := Point{Seq: 1, Index: c.Index, TimeMs: c.TimeMs, WholeFrom: c.WholeFrom}
	if last := r.list.newest(); last != nil {
		if len(r.fresh) == 0 && last.Index == point.Index {
			return r.unchanged(c, last)
		}
		point.Seq = last.Seq + 1
	}
	r.list.Log = c.Log
	for i := range c.Pieces {
		p := &c.Pieces[i]
		f := r.list.find(p)
		came := r.have(p)
		switch {
		case f == nil:
			came.From, came.To = point.Seq, point.Seq
			r.list.Files = append(r.list.Files, *came)
			continue
		case f != came:
			from := f.From
			*f = *came
			f.From = from
		default:
			r.result.Kept++
			r.result.KeptBytes += f.Size
		}
		f.To = point.Seq
	}
	r.list.Points = append(r.list.Points, point)
	r.list.keep(r.o.Keep)
	if err := r.list.write(r.dir); err != nil {
		return err
	}
	r.result.Point = point
	return r.clean()
}

// unchanged is finish where nothing has come.
func (r *run) unchanged(c *aof.Contents, last *Point) error {
	r.result.Point = *last
	for i := range c.Pieces {
		r.result.Kept++
		r.result.KeptBytes += c.Pieces[i].Size
	}
	if points := len(r.list.Points); r.o.Keep > 0 && r.o.Keep < points {
		r.list.keep(r.o.Keep)
		if err := r.list.write(r.dir); err != nil {
			return err
		}
	}
	return r.clean()
}

// clean removes pieces that the list does not name.
func (r *run) clean() error {
	named := make(map[string]bool, len(r.list.Files))
	for i := range r.list.Files {
		named[name(&r.list.Files[i].Piece)] = true
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		piece, _, ok := strings.Cut(e.Name(), "@")
		if !ok || !aof.Owns(piece) || named[e.Name()] {
			continue
		}
		if err := os.Remove(filepath.Join(r.dir, e.Name())); err != nil {
			return err
		}
		r.result.Removed++
	}
	return nil
}
