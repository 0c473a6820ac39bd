package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ayder/aof"
)

// The list of a backup: backup.json. Its first line is the SHA-256 of the rest, in hexadecimal; the rest is JSON. It is
// replaced as a whole: written under another name, synced, renamed, the directory synced. Nothing in it is believed for being in a
// file of ours: names and ids are checked before they become paths.

const (
	listName   = "backup.json"
	tmpSuffix  = ".tmp"
	partSuffix = ".part" // of a piece that has not come whole
)

// List is what a backup holds.
type List struct {
	Format int     `json:"format"` // 1
	Log    string  `json:"log"`    // id of the log that was copied
	Points []Point `json:"points"` // oldest first
	Files  []File  `json:"files"`
}

// Point is one run.
type Point struct {
	Seq       uint64 `json:"seq"` // its number, growing
	Index     uint64 `json:"index"`
	TimeMs    uint64 `json:"time_ms"`    // of the frame with that index
	WholeFrom uint64 `json:"whole_from"` // see aof.Contents
}

// File is a piece.
type File struct {
	aof.Piece
	SHA256 string `json:"sha256"`            // of its Size bytes
	TimeMs uint64 `json:"time_ms,omitempty"` // of the first frame
	LastMs uint64 `json:"last_ms,omitempty"` // of the last one
	From   uint64 `json:"from"`              // the first point that it belongs to
	To     uint64 `json:"to"`                // the last
}

// name is the file's name in the backup.
func name(p *aof.Piece) string { return p.Name + "@" + p.ID }

// Load reads the list of the backup in dir. ErrNotOne: there is none.
func Load(dir string) (*List, error) {
	path := filepath.Join(dir, listName)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: it has no %s", dir, ErrNotOne, listName)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, listBytesMax))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l, err := decodeList(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return l, nil
}

func decodeList(b []byte) (*List, error) {
	sum, text, ok := bytes.Cut(b, []byte("\n"))
	if !ok || hex.EncodeToString(sumOf(text)) != string(sum) {
		return nil, errors.New("its checksum is wrong")
	}
	l := &List{}
	if err := json.Unmarshal(text, l); err != nil {
		return nil, err
	}
	if l.Format != 1 {
		return nil, fmt.Errorf("format %d, this program knows 1", l.Format)
	}
	for i := range l.Files {
		if err := checkPiece(&l.Files[i].Piece); err != nil {
			return nil, err
		}
	}
	for i := range l.Points {
		if i > 0 && l.Points[i].Seq <= l.Points[i-1].Seq {
			return nil, errors.New("its points are not in order")
		}
	}
	return l, nil
}

func sumOf(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// checkPiece makes sure that a piece that somebody names is a file of a log and nothing else.
func checkPiece(p *aof.Piece) error {
	ok := p.Name == filepath.Base(p.Name) && aof.Owns(p.Name) && p.ID != "" && strings.Trim(p.ID, "0123456789abcdef") == "" && p.Size > 0
	if p.IsCheckpoint() {
		ok = ok && strings.HasSuffix(p.Name, ".ckp") && p.First == p.Last && p.Reach >= p.Last
	} else {
		ok = ok && strings.HasSuffix(p.Name, ".aof") && p.First > 0 && p.Last >= p.First
	}
	if !ok {
		return fmt.Errorf("%q is no piece of a log", p.Name+"@"+p.ID)
	}
	return nil
}

// write makes l the list of the backup in dir.
func (l *List) write(dir string) error {
	text, err := json.MarshalIndent(l, "", " ")
	if err != nil {
		return err
	}
	b := append(hex.AppendEncode(nil, sumOf(text)), '\n')
	path := filepath.Join(dir, listName)
	if err := aof.WriteSynced(path+tmpSuffix, append(b, text...)); err != nil {
		return err
	}
	if err := os.Rename(path+tmpSuffix, path); err != nil {
		return err
	}
	return aof.OS().SyncDir(dir)
}

// newest is the last point, nil if there is none.
func (l *List) newest() *Point {
	if len(l.Points) == 0 {
		return nil
	}
	return &l.Points[len(l.Points)-1]
}

// find returns the file of a piece, nil if it is not listed.
func (l *List) find(p *aof.Piece) *File {
	for i := range l.Files {
		if f := &l.Files[i]; f.ID == p.ID && f.Name == p.Name {
			return f
		}
	}
	return nil
}

// keep forgets all but the newest n points, and the files that only they have.
func (l *List) keep(n int) {
	if n <= 0 || n >= len(l.Points) {
		return
	}
	l.Points = l.Points[len(l.Points)-n:]
	oldest, kept := l.Points[0].Seq, l.Files[:0]
	for _, f := range l.Files {
		if f.To >= oldest {
			f.From = max(f.From, oldest)
			kept = append(kept, f)
		}
	}
	l.Files = kept
}

// verify compares a file with its checksum.
func (f *File) verify(dir string) error {
	path := filepath.Join(dir, name(&f.Piece))
	sum, err := hashFile(path, f.Size)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s is shorter than %d bytes", ErrDamaged, path, f.Size)
	case err != nil:
		return err
	case sum != f.SHA256:
		return fmt.Errorf("%w: %s is not what %s says: its SHA-256 is %s", ErrDamaged, path, listName, sum)
	}
	return nil
}

// hashFile is the checksum of a file's first size bytes.
func hashFile(path string, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.CopyBuffer(h, io.LimitReader(f, size), make([]byte, hashBytes))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return hex.EncodeToString(h.Sum(nil)), err
}
