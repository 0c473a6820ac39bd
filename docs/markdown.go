package docs

import (
	"bytes"
	"encoding/base64"
	"fmt"
	stdhtml "html"
	"path"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
)

// Markdown to HTML, so that the same file works on a code host and here:
//
//   - a relative link to a file that is a page here becomes a link to that page, with its anchor; one to another file of the
//     repository is left as text, since the file is not here;
//   - headings have the anchors that code hosts give them (slugs);
//   - pictures become part of the page;
//   - HTML within Markdown is left out, so that a page has no markup but what this package writes.
//
// Alignment in tables is an attribute and not a style, which the pages' policy would not allow.

// converter is made when the first page is asked for.
var converter = sync.OnceValue(func() goldmark.Markdown {
	return goldmark.New(
		goldmark.WithExtensions(extension.NewTable(extension.WithTableCellAlignMethod(extension.TableCellAlignAttribute))),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
		goldmark.WithRendererOptions(html.WithXHTML()),
	)
})

// accessible makes what may be wider than the page scroll by itself, by keyboard too, and of a header without text a cell, which no screen
// reader announces. In code these tags are escaped.
var accessible = strings.NewReplacer(
	"<pre>", `<pre tabindex="0">`,
	"<table>", `<div class="wide" tabindex="0"><table>`,
	"</table>", "</table></div>",
	"<th></th>", "<td></td>",
	`<th align="right"></th>`, `<td align="right"></td>`,
)

// markdown makes a page of a file of the repository.
func markdown(file string) *content {
	raw, err := read(file)
	if err != nil {
		panic(fmt.Sprintf("bug: %v", err))
	}
	tree := converter().Parser().Parse(text.NewReader(raw), parser.WithContext(parser.NewContext(parser.WithIDs(slugs{}))))
	c := &content{title: strings.TrimSuffix(path.Base(file), ".md")}
	m := maker{raw: raw, dir: path.Dir(file), content: c}
	if err := ast.Walk(tree, m.visit); err != nil {
		panic(fmt.Sprintf("bug: %s: %v", file, err))
	}
	m.replaceAll()
	var out bytes.Buffer
	if err := converter().Renderer().Render(&out, raw, tree); err != nil {
		panic(fmt.Sprintf("bug: %s: %v", file, err))
	}
	c.html = accessible.Replace(out.String())
	return c
}

// maker changes the tree of one file. Nodes are replaced after the walk, which would lose its way otherwise.
type maker struct {
	raw      []byte
	dir      string // of the file, in the repository
	content  *content
	replaced []replacement
}

type replacement struct {
	node ast.Node
	by   []ast.Node
}

func (m *maker) visit(n ast.Node, entering bool) (ast.WalkStatus, error) {
	switch n := n.(type) {
	case *ast.Heading:
		if !entering {
			m.heading(n)
		}
	case *ast.Link:
		if entering {
			m.link(n)
		}
	case *ast.Image:
		if entering {
			return ast.WalkSkipChildren, m.image(n)
		}
	}
	return ast.WalkContinue, nil
}

func (m *maker) replaceAll() {
	for _, r := range m.replaced {
		parent := r.node.Parent()
		for _, n := range r.by {
			parent.InsertBefore(parent, r.node, n)
		}
		parent.RemoveChild(parent, r.node)
	}
}

// heading notes what a heading says, and gives it a link to itself.
func (m *maker) heading(n *ast.Heading) {
	says := m.text(n)
	if n.Level == 1 {
		m.content.title = says
		return
	}
	value, ok := n.AttributeString("id")
	if !ok {
		return
	}
	id := string(value.([]byte))
	if n.Level == 2 {
		m.content.headings = append(m.content.headings, heading{id, says})
	}
	link := ast.NewLink()
	link.Destination = []byte("#" + id)
	link.SetAttributeString("class", []byte("anchor"))
	link.Title = []byte("Link to this section")
	link.AppendChild(link, ast.NewString([]byte("#")))
	n.AppendChild(n, link)
}

// text is what a node says, without markup.
func (m *maker) text(n ast.Node) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		switch c := c.(type) {
		case *ast.Text:
			b.Write(c.Segment.Value(m.raw))
		case *ast.String:
			b.Write(c.Value)
		default:
			b.WriteString(m.text(c))
		}
	}
	return b.String()
}

// link leads a link to where its target is on the site.
func (m *maker) link(n *ast.Link) {
	target := string(n.Destination)
	if target == "" || target[0] == '#' || strings.Contains(target, "://") {
		return
	}
	file, anchor, _ := strings.Cut(target, "#")
	if p := pagesByFile[path.Join(m.dir, file)]; p != nil {
		if n.Destination = []byte(p.url()); anchor != "" {
			n.Destination = []byte(p.url() + "#" + anchor)
		}
		return
	}
	var says []ast.Node // the link's text stays
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		says = append(says, c)
	}
	m.replaced = append(m.replaced, replacement{n, says})
}

// image puts a drawing into the page; of another picture only what it shows is said.
func (m *maker) image(n *ast.Image) error {
	file := path.Join(m.dir, string(n.Destination))
	if path.Ext(file) != ".svg" {
		says := ast.NewString([]byte("(picture: " + m.text(n) + ")"))
		m.replaced = append(m.replaced, replacement{n, []ast.Node{says}})
		return nil
	}
	drawing, err := read(file)
	if err != nil {
		return err
	}
	shown := ast.NewString(fmt.Appendf(nil, "<img alt=\"%s\" src=\"data:image/svg+xml;base64,%s\" />", stdhtml.EscapeString(m.text(n)), base64.StdEncoding.EncodeToString(drawing)))
	shown.SetCode(true) // it is HTML already
	m.replaced = append(m.replaced, replacement{n, []ast.Node{shown}})
	return nil
}

// slugs makes anchors of headings as code hosts do: lower case, no punctuation but hyphen and underscore, a hyphen for a
// space, and a number behind one that was there already.
type slugs map[string]int

// Generate is called for every heading, with its Markdown.
func (s slugs) Generate(value []byte, _ ast.NodeKind) []byte {
	id := strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, strings.TrimSpace(string(value)))
	n := s[id]
	if s[id]++; n > 0 {
		return []byte(id + "-" + strconv.Itoa(n))
	}
	return []byte(id)
}

// Put is called for anchors that are written out, which no page has.
func (s slugs) Put(value []byte) { s[string(value)]++ }
