package docs

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
)

func TestDocumentIsJSON(t *testing.T) {
	var d struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(OpenAPI(), &d); err != nil || !strings.HasPrefix(d.OpenAPI, "3.1.") || len(d.Paths) < 10 {
		t.Fatalf("version %q, %d paths: %v", d.OpenAPI, len(d.Paths), err)
	}
	page := string(Reference())
	for path, methods := range d.Paths {
		for method := range methods {
			if strings.Count(page, `id="`+anchor(path, method)+`"`) != 1 || !strings.Contains(page, `href="#`+anchor(path, method)+`"`) {
				t.Errorf("%s %s is not once on the page and once in its list", method, path)
			}
		}
	}
}

// Whatever a description holds, the page stays well-formed and refers to nothing outside.
func TestPageIsWellFormed(t *testing.T) {
	page := Reference()
	body := page[bytes.Index(page, []byte("<body>")):bytes.Index(page, []byte("</html>"))]
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Strict = true
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if out := regexp.MustCompile(`(src|href)="[a-z]+:`).Find(page); out != nil {
		t.Errorf("the page refers to %s", out)
	}
	if ref := regexp.MustCompile(`\$ref|<td></td><td></td><td></td>`).Find(page); ref != nil {
		t.Errorf("something was not resolved: %s", ref)
	}
	if got := code("a `b<c` & d"); got != "a <code>b&lt;c</code> &amp; d" {
		t.Errorf("code in text becomes %q", got)
	}
}

// Every reference of the document leads somewhere.
func TestReferencesLeadSomewhere(t *testing.T) {
	var d any
	if err := json.Unmarshal(OpenAPI(), &d); err != nil {
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
