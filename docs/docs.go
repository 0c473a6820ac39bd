// Package docs holds the documentation that the server serves: the pages of the guide, the OpenAPI document and a reference
// made of it.
//
// Markdown and openapi.yaml are embedded as they are and are the only source, so what a code host shows and what the server
// shows cannot differ. A page is made when it is first asked for, which takes some ten milliseconds: not on a loop, and not at
// start, so that a server whose documentation nobody reads keeps none of it in memory. Nothing on a page comes from elsewhere.
package docs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"sync"

	"go.yaml.in/yaml/v3"
)

// Article is a document as it is served. Nobody changes its bytes.
type Article struct {
	ContentType string
	Body        []byte
	Gzip        []byte // the body, compressed
	Tag         string // names these bytes, without quotes; of the compressed form another one is to be made
}

// OpenAPI returns the OpenAPI document as JSON. Any goroutine; the first call makes it.
func OpenAPI() *Article { return openAPI() }

// Page returns the page that is served under a name below /docs, "" being /docs itself; nil: there is none. Any goroutine;
// the first call makes the page.
func Page(name string) *Article {
	if p := pagesByName[name]; p != nil {
		return p.article()
	}
	return nil
}

// Has tells whether there is a page under a name, without making it.
func Has(name string) bool { return pagesByName[name] != nil }

// Framed is a page that another package makes, under the name that the list of pages has for it. Its text is HTML.
func Framed(name, title, text string) *Article {
	return newArticle("text/html; charset=utf-8", layout(listedAs(name), &content{title: title, html: text}))
}

// Escape is text as HTML.
func Escape(text string) string { return html.EscapeString(text) }

// The documents are part of the program, so one that cannot be made is a bug.
var (
	document = sync.OnceValue(func() *yaml.Node {
		var d yaml.Node
		if err := yaml.Unmarshal(source, &d); err != nil || len(d.Content) != 1 {
			panic(fmt.Sprintf("bug: openapi.yaml: %v", err))
		}
		return d.Content[0]
	})
	openAPI = sync.OnceValue(func() *Article {
		var d any
		err := document().Decode(&d)
		if err != nil {
			panic(fmt.Sprintf("bug: openapi.yaml: %v", err))
		}
		out, err := json.Marshal(d)
		if err != nil {
			panic(fmt.Sprintf("bug: openapi.yaml: %v", err))
		}
		return newArticle("application/json", out)
	})
)

// newArticle compresses a document and gives it its tag.
func newArticle(contentType string, body []byte) *Article {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(body); err != nil {
		panic(fmt.Sprintf("bug: compress into memory: %v", err))
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("bug: compress into memory: %v", err))
	}
	sum := sha256.Sum256(body)
	return &Article{ContentType: contentType, Body: body, Gzip: z.Bytes(), Tag: base64.RawURLEncoding.EncodeToString(sum[:12])}
}
