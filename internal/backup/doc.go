// Package backup copies a log into a directory, more of it each time, and makes a log of such a directory again, as it was at one index or time.
//
// A backup is a directory of pieces (aof.Piece): checkpoints and segments, each under the name and the id that it has in the log, and a
// list of them, backup.json, with their checksums. The list is replaced last and as a whole; what it does not name is not part of the
// backup, but the beginning of the next one. A piece never changes, but for one: the copy of the segment that the log is
// appended to grows at its end, so that what an older list says of it stays true.
//
// Every run adds a point: the index up to which the log was copied, and which pieces belong to it. Pieces of older points stay, because the log
// itself gives up what is dead: a segment that was rewritten or dropped since is still here as it was. See points.go for what can be restored.
package backup

import "errors"

// What can go wrong besides what the file system says.
var (
	ErrGone    = errors.New("the file is not the log's any more")                                     // a Source's answer: ask for the list again
	ErrDamaged = errors.New("damaged backup")                                                         // a file is not what the list says
	ErrForeign = errors.New("a backup of another log")                                                // choose another directory
	ErrNoPoint = errors.New("no such point in the backup")                                            // names what can be restored
	ErrNotOne  = errors.New("not a backup")                                                           // the directory holds something else, or nothing
	errNoRoom  = errors.New("no space left; what was copied stays, and the next run goes on with it") // at the destination
)
