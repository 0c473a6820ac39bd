package docs

import (
	"embed"
	"fmt"
	"html"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"ayder"
)

// The site: which pages there are, in what order, and where their text comes from. A page of the guide is a Markdown file and
// a line in the table; decisions are found by themselves. The name is what stands behind /docs/ and never has a slash, so a
// link between pages is the same from everywhere.

//go:embed FORMAT.md guide/*.md decisions/*.md
var texts embed.FS

//go:embed openapi.yaml
var source []byte

// page is one page of the site.
type page struct {
	name    string // behind /docs/; "" is /docs
	label   string // in the list of pages
	file    string // its Markdown, by its path in the repository; "" where body makes it
	body    func() *content
	article func() *Article // the page as it is served, made once
}

// section is a part of the list of pages.
type section struct {
	label string
	pages []*page
}

// content is a page without what all pages have.
type content struct {
	title    string
	html     string
	headings []heading // for "on this page"
}

type heading struct{ id, text string }

// The pages, and how they are found.
var (
	sections    = table()
	pagesByName = map[string]*page{}
	pagesByFile = map[string]*page{} // by path in the repository
)

func table() []section {
	guide := func(name, label string) *page {
		return &page{name: name, label: label, file: "docs/guide/" + name + ".md"}
	}
	return withOthers([]section{
		{"Guide", []*page{
			{name: "", label: "Quick start", file: "docs/guide/quickstart.md"},
			guide("concepts", "Concepts"),
			guide("api", "API, with curl"),
			guide("operations", "Operations"),
			guide("benchmarks", "Benchmarks"),
			guide("comparison", "Comparison"),
			guide("faq", "Questions"),
		}},
		{"Reference", []*page{
			{name: "reference", label: "Every call", body: reference},
			{name: "errors", label: "Error codes"}, // served by package api, which has the table
			{name: "deploy", label: "Deployment files", file: "deploy/README.md"},
			{name: "format", label: "On-disk format", file: "docs/FORMAT.md"},
			{name: "changelog", label: "Changes", file: "CHANGELOG.md"},
		}},
		{"Inside", []*page{
			{name: "architecture", label: "Architecture", file: "ARCHITECTURE.md"},
			{name: "results", label: "Every measurement", file: "BENCHMARKS.md"},
			{name: "decisions", label: "Decisions", body: decisionList},
		}},
	})
}

// withOthers adds the pages of the guide that the table does not name to its first section.
func withOthers(all []section) []section {
	files, err := fs.Glob(texts, "guide/*.md")
	if err != nil {
		panic(fmt.Sprintf("bug: %v", err))
	}
	guide := &all[0]
	for _, file := range files {
		if slices.ContainsFunc(guide.pages, func(p *page) bool { return p.file == "docs/"+file }) {
			continue
		}
		name := strings.TrimSuffix(path.Base(file), ".md")
		guide.pages = append(guide.pages, &page{name: name, label: strings.ToUpper(name[:1]) + name[1:], file: "docs/" + file})
	}
	return all
}

// decisions are not in the list of pages, but have a list of their own.
var decisions = func() (list []*page) {
	files, err := fs.Glob(texts, "decisions/*.md")
	if err != nil {
		panic(fmt.Sprintf("bug: %v", err))
	}
	for _, file := range files {
		name := strings.TrimSuffix(path.Base(file), ".md")
		list = append(list, &page{name: name, file: "docs/" + file})
	}
	return list
}()

// Set by init, because making a page refers to the list of all pages.
func init() {
	for _, s := range sections {
		for _, p := range s.pages {
			p.add()
		}
	}
	for _, p := range decisions {
		p.add()
	}
	pagesByFile["docs/openapi.yaml"] = pagesByName["reference"]
	pagesByFile["docs/decisions"] = pagesByName["decisions"]
}

// add makes a page known.
func (p *page) add() {
	if p.file != "" {
		pagesByFile[p.file] = p
		p.body = func() *content { return markdown(p.file) }
	}
	if p.body == nil {
		return
	}
	p.article = sync.OnceValue(func() *Article { return newArticle("text/html; charset=utf-8", layout(p, p.body())) })
	pagesByName[p.name] = p
}

// listedAs is the page that the list has under a name.
func listedAs(name string) *page {
	for _, s := range sections {
		for _, p := range s.pages {
			if p.name == name {
				return p
			}
		}
	}
	panic("bug: the list of pages has no " + name)
}

// url is where a page is served.
func (p *page) url() string { return strings.TrimSuffix("/docs/"+p.name, "/") }

// Names are all pages, as Page takes them.
func Names() []string {
	var all []string
	for name := range pagesByName {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}

// read returns a file of the repository that is embedded.
func read(file string) ([]byte, error) {
	if name, ok := strings.CutPrefix(file, "docs/"); ok {
		return texts.ReadFile(name)
	}
	return ayder.Texts.ReadFile(file)
}

// decisionList is the page that leads to the decisions.
func decisionList() *content {
	var b strings.Builder
	b.WriteString("<h1>Decisions</h1>\n<p>Why it is built this way: each page is one question, what was tried and what was decided.</p>\n<ul>\n")
	for _, p := range decisions {
		text, err := read(p.file)
		if err != nil {
			panic(fmt.Sprintf("bug: %v", err))
		}
		title, _, _ := strings.Cut(strings.TrimPrefix(string(text), "# "), "\n")
		fmt.Fprintf(&b, "<li><a href=\"%s\">%s</a></li>\n", p.url(), html.EscapeString(title))
	}
	b.WriteString("</ul>\n")
	return &content{title: "Decisions", html: b.String()}
}
