package api

import (
	"encoding/json"
	"errors"
	"io"
)

// Backups: a list of the log's files, and ranges of them. What they are is the program's affair (Options.Backup); here is who may ask, and that
// no loop waits for a disk. A client names a file by what the list said, name@id; nothing that it sends becomes a path.
//
// Of a cluster any node answers, from its own files: the list says how far they go.

// Backup is the log as files. Both may block, and are called on any goroutine.
type Backup interface {
	// Contents is the list, to be rendered as JSON.
	Contents() (any, error)
	// ReadPiece reads bytes of a file that a list has. The error wraps ErrPieceGone if it is not the log's any more, and is io.EOF
	// behind its end.
	ReadPiece(name, id string, p []byte, off int64) (int, error)
}

// ErrPieceGone is what a Backup says of a file that was rewritten or dropped since it was listed.
var ErrPieceGone = errors.New("the file is not the log's any more")

// backupList answers with the list of files.
func backupList(l *loop, x *exchange) (reply, error) {
	if l.server.options.Backup == nil {
		return reply{}, errNotFound
	}
	return l.elsewhere(x, 0, func() (reply, error) {
		list, err := l.server.options.Backup.Contents()
		if errors.Is(err, ErrBusy) {
			return reply{}, errOverloaded.with("%v", err)
		}
		if err != nil {
			return reply{}, errDamaged.with("%v", err)
		}
		body, err := json.Marshal(list)
		return reply{status: 200, body: body}, err
	})
}

// backupPiece answers with bytes of a file.
func backupPiece(l *loop, x *exchange) (reply, error) {
	if l.server.options.Backup == nil {
		return reply{}, errNotFound
	}
	if !l.mayMake() {
		return reply{}, errOverloaded.with("too many large answers wait for slow readers")
	}
	a := &x.args
	if a.start != startCommitted && a.start != startOffset {
		return reply{}, errBadParameter.with("offset is a number of bytes here")
	}
	name, id, size, off := string(a.piece), string(a.pieceID), a.maxBytes, a.offset
	return l.elsewhere(x, size, func() (reply, error) {
		b := make([]byte, size)
		n, err := l.server.options.Backup.ReadPiece(name, id, b, int64(off))
		switch {
		case errors.Is(err, ErrPieceGone):
			return reply{}, errPieceGone.with("%v", err)
		case errors.Is(err, io.EOF):
			return reply{}, errAboveEnd.with("%s@%s has no byte %d that is committed", name, id, off)
		case err != nil:
			return reply{}, errDamaged.with("%v", err)
		}
		return reply{status: 200, contentType: "application/octet-stream", body: b[:n]}, nil
	})
}

// elsewhere answers with what make returns, which a goroutine calls that may wait for the disk; size is how large the body may become.
func (l *loop) elsewhere(x *exchange, size int, make func() (reply, error)) (reply, error) {
	l.exclude(x.conn)
	c, m := x.conn, x.meta
	ok := l.server.readers.add(func(Reader) {
		r, err := make()
		l.net.Post(func() {
			l.making -= size
			if err != nil {
				l.finishError(c, &m, asError(err))
				return
			}
			l.finish(c, &m, 0, &r)
		})
	})
	if !ok {
		return reply{}, errOverloaded
	}
	l.making += size
	return reply{later: true}, nil
}

// putPiece checks and stores the name of a file, name@id. Whether there is such a file the log says.
func (a *args) putPiece(v []byte) error {
	for i, c := range v {
		if c == '@' && i > 0 && i+1 < len(v) && len(v) <= pieceNameMax {
			a.piece, a.pieceID = v[:i], v[i+1:]
			return a.checkPiece()
		}
	}
	return errBadPath.with("a file of the list is named name@id")
}

// checkPiece allows what a file's name and id may consist of.
func (a *args) checkPiece() error {
	for _, c := range a.piece {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && c != '-' && c != '.' {
			return errBadPath.with("%q is no name of a file", a.piece)
		}
	}
	for _, c := range a.pieceID {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return errBadPath.with("%q is no id of a file", a.pieceID)
		}
	}
	return nil
}
