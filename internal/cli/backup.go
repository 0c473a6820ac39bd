package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/pflag"

	"ayder/aof"
	"ayder/internal/backup"
)

// Backups of a running server, over the calls below /admin/backup, or of the directory of a stopped one. A server that restarts meanwhile
// is waited for like everywhere; its files are the same afterwards. Of several servers the one that answers first is copied: each has
// files of its own.

var backupCommands = []command{
	{name: "backup", args: "DEST", count: [2]int{1, 1}, help: "Copy a server's log into a directory, or what is new of it: run it again and again (messages of rocket topics are in no log)", build: backupRun},
}

func backupRun(f *pflag.FlagSet) func(*session, []string) error {
	dir := f.String("data-dir", "", "copy this directory of a stopped server, instead of asking one that runs")
	keep := f.Int("keep", 0, "how many points to keep that can be gone back to: the newest; 0: all")
	return func(s *session, args []string) error {
		if *keep < 0 {
			return usagef("--keep: %d points", *keep)
		}
		var src backup.Source = remote{s.client}
		if *dir != "" {
			offline, err := backup.OpenOffline(*dir)
			if err != nil {
				return err
			}
			defer offline.Close()
			src = offline
		}
		r, err := backup.Run(s.ctx, src, args[0], backup.Options{Keep: *keep})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(s.Out, "index %d, written %s: fetched %d files, %d bytes; kept %d files, %d bytes of what was there; removed %d files\n",
			r.Point.Index, backup.ShowTime(r.Point.TimeMs), r.Fetched, r.FetchedBytes, r.Kept, r.KeptBytes, r.Removed)
		return err
	}
}

// remote is a running server's log as a backup.Source.
type remote struct{ client *client }

// Contents implements backup.Source.
func (r remote) Contents(ctx context.Context) (*aof.Contents, error) {
	body, _, err := r.client.do(ctx, call{method: http.MethodGet, path: "/admin/backup", repeat: true})
	if err != nil {
		return nil, err
	}
	c := &aof.Contents{}
	if err := json.Unmarshal(body, c); err != nil {
		return nil, fmt.Errorf("the answer does not decode: %w", err)
	}
	return c, nil
}

// Read implements backup.Source.
func (r remote) Read(ctx context.Context, p *aof.Piece, b []byte, off int64) (int, error) {
	body, _, err := r.client.do(ctx, call{
		method: http.MethodGet, path: "/admin/backup/" + segment(p.Name+"@"+p.ID), repeat: true,
		query: url.Values{"offset": {strconv.FormatInt(off, 10)}, "max_bytes": {strconv.Itoa(len(b))}},
	})
	var e *answerError
	if errors.As(err, &e) && e.Status == http.StatusGone {
		err = fmt.Errorf("%w: %w", backup.ErrGone, err)
	}
	if len(body) > len(b) {
		return 0, fmt.Errorf("%d bytes came where %d were asked for", len(body), len(b))
	}
	return copy(b, body), err
}
