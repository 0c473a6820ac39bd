package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// oneFile is a log of one file.
type oneFile struct{}

const oneFileText = "the bytes of the file"

func (oneFile) Contents() (any, error) { return map[string]any{"index": 1}, nil }

func (oneFile) ReadPiece(name, id string, p []byte, off int64) (int, error) {
	switch {
	case name == "rotten":
		return 0, errors.New("checksum mismatch")
	case name != "file" || id != "1":
		return 0, fmt.Errorf("%w: %s", ErrPieceGone, name)
	case off >= int64(len(oneFileText)):
		return 0, io.EOF
	}
	return copy(p, oneFileText[off:]), nil
}

func TestFilesOfTheLogAreReadInRanges(t *testing.T) {
	f := newFixture(t, "auto")
	if status, m := f.call("GET", "/admin/backup", ""); status != 200 || m["index"] != 1.0 {
		t.Error(status, m)
	}
	for _, c := range []struct{ path, want string }{
		{"file@1", oneFileText}, {"file@1?offset=4", oneFileText[4:]}, {"file@1?offset=4&max_bytes=5", "bytes"}, {"file%401?max_bytes=3", "the"},
	} {
		status, text, h := f.raw("GET", "/admin/backup/"+c.path, "")
		if status != 200 || string(text) != c.want || h.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%s: %d %q %v", c.path, status, text, h)
		}
	}
	f.refused("GET", "/admin/backup/file@1?offset=21", "").want(t, "the end", 416, "offset_out_of_range", "byte 21")
	f.refused("GET", "/admin/backup/file@2", "").want(t, "another id", 410, "file_gone", "file")
	f.refused("GET", "/admin/backup/rotten@1", "").want(t, "damage", 500, "storage_damaged", "checksum")
	f.refused("GET", "/admin/backup/file@1?offset=latest", "").want(t, "a word", 400, "bad_parameter", "bytes")
	for _, bad := range []string{"file", "@1", "file@", "a%2Fb@1", "..%2Fx@1", "%00@1", "file@x", "file@1%2F", "FILE@1", strings.Repeat("f", 130) + "@1"} {
		f.refused("GET", "/admin/backup/"+bad, "").want(t, bad, 400, "bad_path", "")
	}
	f.refused("GET", "/admin/backup/..@1", "").want(t, "a directory", 410, "file_gone", "..")
	f.refused("GET", "/admin/backup/file@1", "", "Authorization", "Bearer reader").want(t, "no admin", http.StatusForbidden, "forbidden", "role admin")
}

func TestALogThatCannotBeCopied(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.Backup = nil })
	f.refused("GET", "/admin/backup", "").want(t, "list", 404, "not_found", "")
	f.refused("GET", "/admin/backup/file@1", "").want(t, "file", 404, "not_found", "")
}
