// Package ayder holds the texts at the top of the repository that the server shows at /docs: a package can embed only
// what lies below it. Package docs renders them.
package ayder

import "embed"

// Texts are Markdown files, and pictures that they show, under the names that they have in the repository.
//
//go:embed ARCHITECTURE.md BENCHMARKS.md CHANGELOG.md deploy/README.md bench/pictures/*.svg
var Texts embed.FS
