// Package console holds the web console: the pages, styles and scripts that a browser gets at /console.
//
// The files below assets are served as they are written: no framework, no build step, nothing from elsewhere. The page is
// an empty frame; what it shows comes over the public HTTP API, with a token that its user types once and that stays in
// the session storage of the tab. So the files are for everybody, and reading them tells nothing about the server.
//
// The browser is told to hold the page to that (Policy). Only this server may be asked for anything, so the token cannot
// leave for another origin, not even for the cluster's leader: from a follower the console links to the leader's console.
// Trusted types are demanded and no policy may be made, so a script that gave a string to innerHTML would fail: all
// text of the server goes into the page as text.
package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"path"
	"sync"
)

// Policy are the header lines that every file is sent with.
const Policy = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n" +
	"X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nCross-Origin-Opener-Policy: same-origin\r\n"

// Index is the name of the page itself.
const Index = "index.html"

//go:embed assets
var assets embed.FS

// types are the kinds of files that there may be, by extension.
var types = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// File is one file, ready to be sent. Nobody may change it.
type File struct {
	ContentType string
	ETag        string // weak: it is the same for both forms (RFC 9110 section 8.8.3)
	Body        []byte
	Gzip        []byte // the same, compressed
}

// Find returns the file of that name, or nil. Any goroutine; the first call compresses all of them, which takes some
// milliseconds.
func Find(name string) *File { return files()[name] }

var files = sync.OnceValue(func() map[string]*File {
	all := map[string]*File{}
	entries, err := assets.ReadDir("assets")
	if err != nil {
		panic(fmt.Sprintf("bug: the console's files: %v", err))
	}
	for _, e := range entries {
		body, err := assets.ReadFile(path.Join("assets", e.Name()))
		if err != nil {
			panic(fmt.Sprintf("bug: the console's files: %v", err))
		}
		all[e.Name()] = newFile(e.Name(), body)
	}
	return all
})

func newFile(name string, body []byte) *File {
	kind, ok := types[path.Ext(name)]
	if !ok {
		panic("bug: the console has a file of an unknown kind: " + name)
	}
	sum := sha256.Sum256(body)
	return &File{ContentType: kind, ETag: `W/"` + hex.EncodeToString(sum[:8]) + `"`, Body: body, Gzip: compress(body)}
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(body)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil { // memory takes everything
		panic(fmt.Sprintf("bug: gzip: %v", err))
	}
	return b.Bytes()
}
