package docs

import (
	"bytes"
	"fmt"
	"html"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The reference page: every call with its parameters, body and answers, in the order of the document. It walks the YAML
// itself, because a decoded map has lost that order. It is HTML without script, so that it can be read anywhere; colours
// follow the reader's.

// node is a part of the document. The zero value is a part that is not there.
type node struct{ *yaml.Node }

// nodeOf is what a part says, or what it is an alias of.
func nodeOf(n *yaml.Node) node {
	if n.Kind == yaml.AliasNode {
		return node{n.Alias}
	}
	return node{n}
}

// get is a member of a mapping.
func (n node) get(name string) node {
	if n.Node == nil || n.Kind != yaml.MappingNode {
		return node{}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return nodeOf(n.Content[i+1])
		}
	}
	return node{}
}

// each calls visit with every member of a mapping, in the document's order.
func (n node) each(visit func(name string, value node)) {
	if n.Node == nil || n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		visit(n.Content[i].Value, nodeOf(n.Content[i+1]))
	}
}

// items are the elements of a sequence.
func (n node) items() (list []node) {
	if n.Node == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	for _, c := range n.Content {
		list = append(list, nodeOf(c))
	}
	return list
}

// text is a scalar as it is written.
func (n node) text() string {
	if n.Node == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

func (n node) there() bool { return n.Node != nil }

// sheet is the HTML while it is made.
type sheet struct {
	bytes.Buffer
	root node
}

// reference makes the page.
func reference() *content {
	p := &sheet{root: node{document()}}
	info := p.root.get("info")
	fmt.Fprintf(p, "<h1>Every call</h1>\n<p>%s. The same as <a href=\"/openapi.json\">OpenAPI</a>; <a href=\"/docs/errors\">error codes</a>; <a href=\"/docs/api\">examples with curl</a>.</p>\n",
		html.EscapeString(info.get("summary").text()))
	p.paragraphs(info.get("description").text())
	p.WriteString("<ul class=\"calls\">\n")
	p.operations(func(path, method string, op node) {
		fmt.Fprintf(p, "<li><a href=\"#%s\"><code>%s %s</code></a></li>\n", anchor(path, method), strings.ToUpper(method), html.EscapeString(path))
	})
	p.WriteString("</ul>\n")
	p.operations(p.operation)
	return &content{title: "Every call", html: accessible.Replace(p.String())}
}

func (p *sheet) operations(visit func(path, method string, op node)) {
	p.root.get("paths").each(func(path string, methods node) {
		methods.each(func(method string, op node) { visit(path, method, op) })
	})
}

// anchor is what a link to an operation ends with.
func anchor(path, method string) string {
	return method + strings.NewReplacer("/", "-", "{", "", "}", "", ".", "").Replace(path)
}

func (p *sheet) operation(path, method string, op node) {
	fmt.Fprintf(p, "<h2 id=\"%s\"><span class=\"method\">%s</span><span class=\"call\">%s</span></h2>\n<p>%s.", anchor(path, method), strings.ToUpper(method),
		html.EscapeString(path), code(op.get("summary").text()))
	if role := op.get("x-role").text(); role != "" {
		fmt.Fprintf(p, " Role <code>%s</code>.", role)
	} else {
		p.WriteString(" No token needed.")
	}
	p.WriteString("</p>\n")
	p.paragraphs(op.get("description").text())
	p.parameters(op.get("parameters").items())
	if body := op.get("requestBody"); body.there() {
		p.WriteString("<h3>Body</h3>\n")
		p.content(body)
	}
	p.WriteString("<h3>Answers</h3>\n")
	op.get("responses").each(func(status string, r node) {
		r = p.resolve(r)
		fmt.Fprintf(p, "<p><code>%s</code> %s</p>\n", status, code(r.get("description").text()))
		if status != "default" {
			p.content(r)
		}
	})
}

// parameters is a table of them, if there are any.
func (p *sheet) parameters(list []node) {
	if len(list) == 0 {
		return
	}
	p.WriteString("<table><tr><th>Parameter</th><th>In</th><th>Value</th><th></th></tr>\n")
	for _, q := range list {
		q = p.resolve(q)
		fmt.Fprintf(p, "<tr><td><code>%s</code></td><td>%s</td><td>%s</td><td>%s</td></tr>\n",
			html.EscapeString(q.get("name").text()), q.get("in").text(), p.kind(q.get("schema")), code(q.get("description").text()))
	}
	p.WriteString("</table>\n")
}

// content describes the media types of a body or an answer.
func (p *sheet) content(of node) {
	of.get("content").each(func(media string, c node) {
		fmt.Fprintf(p, "<p><code>%s</code></p>\n", html.EscapeString(media))
		p.members(p.resolve(c.get("schema")))
	})
}

// members is a table of an object's members, if it has any.
func (p *sheet) members(schema node) {
	properties := schema.get("properties")
	if !properties.there() {
		return
	}
	p.WriteString("<table>\n")
	properties.each(func(name string, s node) {
		fmt.Fprintf(p, "<tr><td><code>%s</code></td><td>%s</td><td>%s</td></tr>\n", html.EscapeString(name), p.kind(s), code(p.resolve(s).get("description").text()))
	})
	p.WriteString("</table>\n")
}

// kind says in a few words what a value may be.
func (p *sheet) kind(schema node) string {
	schema = p.resolve(schema)
	if c := schema.get("const"); c.there() {
		return "<code>" + html.EscapeString(c.text()) + "</code>"
	}
	if list := schema.get("enum").items(); len(list) > 0 {
		return joined(list, " or ", func(n node) string { return "<code>" + html.EscapeString(n.text()) + "</code>" })
	}
	if list := schema.get("oneOf").items(); len(list) > 0 {
		return joined(list, " or ", p.kind)
	}
	kind := schema.get("type").text()
	if schema.get("allOf").there() {
		kind = "object"
	}
	if list := schema.get("type").items(); len(list) > 0 {
		kind = joined(list, " or ", node.text)
	}
	if items := schema.get("items"); items.there() {
		kind += " of " + p.kind(items)
	}
	return kind + p.bounds(schema)
}

// bounds are a value's limits and default.
func (p *sheet) bounds(schema node) (text string) {
	low, high := schema.get("minimum").text(), schema.get("maximum").text()
	if low == "" {
		low, high = schema.get("minLength").text(), schema.get("maxLength").text()
	}
	switch {
	case low != "" && high != "":
		text = " " + low + "…" + high
	case low != "":
		text = " ≥ " + low
	}
	if d := schema.get("default"); d.there() {
		text += ", default " + html.EscapeString(d.text())
	}
	return text
}

func joined(list []node, by string, text func(node) string) string {
	var all []string
	for _, n := range list {
		all = append(all, text(n))
	}
	return strings.Join(all, by)
}

// resolve follows a $ref into the components.
func (p *sheet) resolve(n node) node {
	ref := n.get("$ref").text()
	if ref == "" {
		return n
	}
	at := p.root
	for _, name := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.get(name)
	}
	return at
}

func (p *sheet) paragraphs(text string) {
	if text != "" {
		fmt.Fprintf(p, "<p>%s</p>\n", code(strings.TrimSpace(text)))
	}
}

// code is text as HTML, with what stands in backquotes as code.
func code(text string) string {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		part = html.EscapeString(part)
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return b.String()
}
