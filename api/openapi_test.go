package api

import (
	"os"
	"slices"
	"strings"
	"testing"

	"ayder/httpparse"
	"ayder/internal/auth"

	"go.yaml.in/yaml/v3"
)

// document is as much of docs/openapi.yaml as must agree with the code.
type document struct {
	Paths      map[string]map[string]operation `yaml:"paths"`
	Components struct {
		Parameters map[string]parameter `yaml:"parameters"`
		Schemas    map[string]struct {
			Properties map[string]struct {
				Enum []string `yaml:"enum"`
			} `yaml:"properties"`
		} `yaml:"schemas"`
	} `yaml:"components"`
}

type operation struct {
	Role        string      `yaml:"x-role"`
	Security    []any       `yaml:"security"`
	Parameters  []parameter `yaml:"parameters"`
	RequestBody any         `yaml:"requestBody"`
}

type parameter struct {
	Ref  string `yaml:"$ref"`
	Name string `yaml:"name"`
	In   string `yaml:"in"`
}

func readDocument(t *testing.T) (d document) {
	t.Helper()
	text, err := os.ReadFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *document) names(o *operation, in string) (names []string) {
	for _, p := range o.Parameters {
		if ref, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
			p = d.Components.Parameters[ref]
		}
		if p.In == in {
			names = append(names, p.Name)
		}
	}
	slices.Sort(names)
	return names
}

func TestDocumentAndRouteTableAgree(t *testing.T) {
	d := readDocument(t)
	operations := 0
	for _, path := range d.Paths {
		operations += len(path)
	}
	if operations != len(routes) {
		t.Errorf("%d operations are documented, %d exist", operations, len(routes))
	}
	for _, r := range routes {
		o, ok := d.Paths[strings.Replace(r.path, "...}", "}", 1)][strings.ToLower(r.method.String())]
		if !ok {
			t.Errorf("%s %s is not documented", r.method, r.path)
			continue
		}
		if role := map[auth.Role]string{0: "", auth.Read: "read", auth.Write: "write", auth.Admin: "admin", auth.Read | auth.Write | auth.Admin: "read+write+admin"}[r.role]; o.Role != role {
			t.Errorf("%s %s needs role %q, documented is %q", r.method, r.path, role, o.Role)
		}
		if got, want := d.names(&o, "query"), paramNames(r.params); !slices.Equal(got, want) {
			t.Errorf("%s %s takes %v, documented are %v", r.method, r.path, want, got)
		}
		if (o.RequestBody != nil) != (r.method == httpparse.POST || r.method == httpparse.PUT) {
			t.Errorf("%s %s: whether it takes a body differs", r.method, r.path)
		}
	}
}

func paramNames(set param) (names []string) {
	for _, name := range []string{
		"partition", "key", "idempotency_key", "timeout_ms", "timing", "ts_ms", "concern", "expected_offset",
		"envelope", "offset", "limit", "max_bytes", "encoding", "reset", "consistency", "wait_ms", "from_ts_ms", "cas", "ttl_ms", "raw", "prefix", "after", "watch",
		"member", "generation", "token", "cursor", "cursor0", "pageSizeHint", "stream", "n", "headers", "dedupe",
	} {
		if set&paramOf([]byte(name)) != 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestDocumentListsEveryErrorCode(t *testing.T) {
	d := readDocument(t)
	documented := d.Components.Schemas["Error"].Properties["error"].Enum
	var codes []string
	for _, e := range errorTable() {
		codes = append(codes, e.Code)
		if _, ok := statusTexts[e.Status]; !ok {
			t.Errorf("%s: status %d has no reason phrase", e.Code, e.Status)
		}
	}
	slices.Sort(documented)
	slices.Sort(codes)
	if !slices.Equal(documented, codes) {
		t.Errorf("codes %v\ndocumented %v", codes, documented)
	}
}
