package docs

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"html"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestDocumentIsJSON(t *testing.T) {
	var d struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(OpenAPI().Body, &d); err != nil || !strings.HasPrefix(d.OpenAPI, "3.1.") || len(d.Paths) < 10 {
		t.Fatalf("version %q, %d paths: %v", d.OpenAPI, len(d.Paths), err)
	}
	page := string(Page("reference").Body)
	for path, methods := range d.Paths {
		for method := range methods {
			if strings.Count(page, `id="`+anchor(path, method)+`"`) != 1 || !strings.Contains(page, `href="#`+anchor(path, method)+`"`) {
				t.Errorf("%s %s is not once on the page and once in its list", method, path)
			}
		}
	}
}

// Whatever a page's text holds, the page stays well-formed, gets nothing from outside and has only what this package writes.
func TestPagesAreWellFormed(t *testing.T) {
	for _, name := range Names() {
		page := Page(name).Body
		d := xml.NewDecoder(bytes.NewReader(page))
		d.Strict = true
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%q: %v", name, err)
			}
			if e, ok := token.(xml.StartElement); ok {
				allowed(t, name, e)
			}
		}
		for _, bad := range []string{"<!-- raw HTML omitted -->", "$ref", "<td></td><td></td><td></td>", "```"} {
			if bytes.Contains(page, []byte(bad)) {
				t.Errorf("%q has %s", name, bad)
			}
		}
		if n := bytes.Count(page, []byte("<h1")); n != 1 {
			t.Errorf("%q has %d titles", name, n)
		}
	}
	if got := code("a `b<c` & d"); got != "a <code>b&lt;c</code> &amp; d" {
		t.Errorf("code in text becomes %q", got)
	}
}

// allowed looks at one element of a page.
func allowed(t *testing.T, page string, e xml.StartElement) {
	t.Helper()
	if slices.Contains([]string{"script", "link", "iframe", "form", "object", "embed", "base"}, e.Name.Local) {
		t.Errorf("%q has <%s>", page, e.Name.Local)
	}
	for _, a := range e.Attr {
		switch {
		case a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on"):
			t.Errorf("%q: <%s %s>, which the policy forbids", page, e.Name.Local, a.Name.Local)
		case a.Name.Local == "src" && !strings.HasPrefix(a.Value, "data:image/svg+xml;"):
			t.Errorf("%q shows %s", page, a.Value)
		case a.Name.Local == "href" && !strings.HasPrefix(a.Value, "/") && !strings.HasPrefix(a.Value, "#") && !strings.HasPrefix(a.Value, "https://"):
			t.Errorf("%q links to %s", page, a.Value)
		}
	}
}

var (
	idOf   = regexp.MustCompile(` id="([^"]*)"`)
	hrefOf = regexp.MustCompile(` href="([^"]*)"`)
)

// Every link of every page leads to a page that there is, at an anchor that it has, and no anchor is there twice. (/docs/errors
// is the server's own; package api tests it.)
func TestLinksLeadSomewhere(t *testing.T) {
	anchors := map[string]bool{"/docs/errors": true, "/openapi.json": true}
	for _, name := range Names() {
		url := pagesByName[name].url()
		anchors[url] = true
		for _, m := range idOf.FindAllSubmatch(Page(name).Body, -1) {
			if at := url + "#" + string(m[1]); anchors[at] || len(m[1]) == 0 {
				t.Errorf("%s is there twice, or is empty", at)
			} else {
				anchors[at] = true
			}
		}
	}
	for _, name := range Names() {
		for _, m := range hrefOf.FindAllSubmatch(Page(name).Body, -1) {
			target := html.UnescapeString(string(m[1]))
			if strings.HasPrefix(target, "https://") {
				continue
			}
			if strings.HasPrefix(target, "#") {
				target = pagesByName[name].url() + target
			}
			if unescaped, err := url.PathUnescape(target); err != nil || !anchors[unescaped] {
				t.Errorf("%q links to %s, which there is not", name, target)
			}
		}
	}
}

var markdownLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// The same links are good where the Markdown is shown as it is: each leads to a file of the repository, and to a heading that
// it has.
func TestMarkdownLinksLeadSomewhere(t *testing.T) {
	files := []string{"README.md"}
	for file := range pagesByFile {
		if strings.HasSuffix(file, ".md") {
			files = append(files, file)
		}
	}
	for _, file := range files {
		text, err := os.ReadFile("../" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range markdownLink.FindAllStringSubmatch(withoutCode(string(text)), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			to := file
			if target != "" {
				to = path.Join(path.Dir(file), target)
			}
			if _, err := os.Stat("../" + to); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
			} else if anchor != "" && !hasHeading(t, to, anchor) {
				t.Errorf("%s links to %s: there is no such heading", file, m[1])
			}
		}
	}
}

// withoutCode takes blocks and code within sentences out of Markdown.
func withoutCode(text string) string {
	text = regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(text, "")
	return regexp.MustCompile("`[^`\n]*`").ReplaceAllString(text, "")
}

func hasHeading(t *testing.T, file, anchor string) bool {
	t.Helper()
	text, err := os.ReadFile("../" + file)
	if err != nil {
		t.Fatal(err)
	}
	ids := slugs{}
	for line := range strings.Lines(regexp.MustCompile("(?ms)^```.*?^```").ReplaceAllString(string(text), "")) {
		if says := strings.TrimLeft(line, "#"); says != line && strings.HasPrefix(says, " ") {
			if string(ids.Generate([]byte(strings.TrimSpace(says)), 0)) == anchor {
				return true
			}
		}
	}
	return false
}

// Every page that is listed is there, and every file of the guide is a page.
func TestGuideIsWhole(t *testing.T) {
	files, err := fs.Glob(texts, "guide/*.md")
	if err != nil || len(files) < 7 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if pagesByFile["docs/"+file] == nil {
			t.Errorf("%s is not in the list of pages", file)
		}
	}
	for _, name := range Names() {
		a := Page(name)
		z, err := gzip.NewReader(bytes.NewReader(a.Gzip))
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(z); err != nil || !bytes.Equal(body, a.Body) || a.Tag == "" || len(a.Body) < 500 {
			t.Errorf("%q: %d bytes, tag %q, compressed it is %d: %v", name, len(a.Body), a.Tag, len(body), err)
		}
	}
	first, again := Page("concepts"), Page("concepts")
	if Page("none") != nil || Has("none") || !Has("") || first != again {
		t.Error("pages are not found as they should be")
	}
}

func TestSlugs(t *testing.T) {
	ids := slugs{}
	for _, tt := range [][2]string{
		{"What `durable` means", "what-durable-means"},
		{"Exactly once?", "exactly-once"},
		{"POST /broker/topics", "post-brokertopics"},
		{"A – b", "a--b"},
		{"Same", "same"},
		{"Same", "same-1"},
		{"Größe_1", "größe_1"},
	} {
		if got := string(ids.Generate([]byte(tt[0]), 0)); got != tt[1] {
			t.Errorf("%q: %q", tt[0], got)
		}
	}
}

// Every operation of the OpenAPI document is called by a curl in api.md.
func TestEveryOperationHasACommand(t *testing.T) {
	text, err := texts.ReadFile("guide/api.md")
	if err != nil {
		t.Fatal(err)
	}
	called := curls(string(text))
	p := &sheet{root: node{document()}}
	p.operations(func(path, method string, _ node) {
		segments := regexp.MustCompile(`\\\{(key)\\\}|\\\{[a-z]+\\\}`).ReplaceAllStringFunc(regexp.QuoteMeta(path), func(v string) string {
			if v == `\{key\}` {
				return `.+`
			}
			return `[^/]+`
		})
		at := regexp.MustCompile("^" + strings.ToUpper(method) + " " + segments + "$")
		if !slices.ContainsFunc(called, at.MatchString) {
			t.Errorf("docs/guide/api.md has no curl for %s %s", strings.ToUpper(method), path)
		}
	})
}

// curls lists the calls in the sh blocks of a page, as "GET /path".
func curls(text string) (calls []string) {
	for _, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```").FindAllStringSubmatch(text, -1) {
		for _, command := range strings.Split(block[1], "curl ")[1:] {
			method := "GET"
			if strings.Contains(command, " --data") {
				method = "POST"
			}
			if m := regexp.MustCompile(`-X ([A-Z]+)`).FindStringSubmatch(command); m != nil {
				method = m[1]
			}
			for _, m := range regexp.MustCompile(`(?:localhost|127\.0\.0\.1):[0-9]+(/[^\s'"?]*)`).FindAllStringSubmatch(command, -1) {
				calls = append(calls, method+" "+m[1])
			}
		}
	}
	return calls
}

// Every reference of the document leads somewhere.
func TestReferencesLeadSomewhere(t *testing.T) {
	var d any
	if err := json.Unmarshal(OpenAPI().Body, &d); err != nil {
		t.Fatal(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && !leads(d, ref) {
				t.Errorf("%s leads nowhere", ref)
			}
			for _, w := range v {
				walk(w)
			}
		case []any:
			for _, w := range v {
				walk(w)
			}
		}
	}
	walk(d)
}

func leads(d any, ref string) bool {
	for name := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		m, ok := d.(map[string]any)
		if !ok {
			return false
		}
		if d, ok = m[name]; !ok {
			return false
		}
	}
	return true
}
