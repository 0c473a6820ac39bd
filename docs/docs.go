// Package docs holds the documentation that the server serves: the OpenAPI document and a page made of it.
//
// openapi.yaml beside this file is the source of both, so they cannot differ. JSON and HTML are made when they are first
// asked for, which takes some ten milliseconds: not on a loop. Nothing on the page comes from elsewhere.
package docs

import (
	_ "embed" // the document
	"encoding/json"
	"fmt"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var source []byte

// OpenAPI returns the document as JSON. Any goroutine; the first call makes it. The caller must not change it.
func OpenAPI() []byte { return openAPI() }

// Reference returns the document as a page of HTML. Any goroutine; the first call makes it. The caller must not change it.
func Reference() []byte { return reference() }

// The document is part of the program, so one that does not decode is a bug.
var (
	document = sync.OnceValue(func() *yaml.Node {
		var d yaml.Node
		if err := yaml.Unmarshal(source, &d); err != nil || len(d.Content) != 1 {
			panic(fmt.Sprintf("bug: openapi.yaml: %v", err))
		}
		return d.Content[0]
	})
	openAPI = sync.OnceValue(func() []byte {
		var d any
		err := document().Decode(&d)
		if err != nil {
			panic(fmt.Sprintf("bug: openapi.yaml: %v", err))
		}
		out, err := json.Marshal(d)
		if err != nil {
			panic(fmt.Sprintf("bug: openapi.yaml: %v", err))
		}
		return out
	})
	reference = sync.OnceValue(func() []byte { return render(node{document()}) })
)
