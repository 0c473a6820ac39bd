package api

import (
	"fmt"
	"strings"
	"testing"
)

func TestPagesHaveTags(t *testing.T) {
	for _, cold := range []bool{false, true} {
		f := newFixture(t, "auto", func(o *Options) { o.DefaultPartitions = 1 })
		produce := func() { f.call("POST", "/broker/topics/t/produce", "v") }
		for range 5 {
			produce()
		}
		f.log.set(func(m *memLog) { m.cold = cold })
		get := func(query, known string) (int, string, string) {
			t.Helper()
			status, body, h := f.raw("GET", "/broker/consume/t/g/0"+query, "", "If-None-Match", known)
			if (status == 304) != (len(body) == 0) || status == 304 && (h["Content-Length"] != nil || h["Content-Type"] != nil) {
				t.Errorf("%s: %d %q %v", query, status, body, h)
			}
			return status, h.Get("ETag"), string(body)
		}
		same := func(query, tag string, want bool) {
			t.Helper()
			for _, known := range []string{tag, "W/" + tag, `"x", ` + tag, `"x" ,W/` + tag + `,"y"`, "*"} {
				status, again, _ := get(query, known)
				if known == "*" && !want {
					continue
				}
				if (status == 304) != want || (again == tag) != want {
					t.Errorf("%s with %s: %d, tag %s", query, known, status, again)
				}
			}
			for _, known := range []string{"", `"x"`, strings.Trim(tag, `"`), tag[:len(tag)-1], `"`} {
				if status, _, _ := get(query, known); status != 200 {
					t.Errorf("%s with %s: %d", query, known, status)
				}
			}
		}
		_, inside, _ := get("?offset=0&limit=3", "")
		_, filled, _ := get("?offset=0&limit=5", "")
		_, end, _ := get("?offset=3", "")
		if inside == "" || filled == "" || end == "" || inside == filled || inside == end {
			t.Fatal(inside, filled, end)
		}
		same("?offset=0&limit=3", inside, true)
		same("?offset=0&limit=5", filled, true)
		same("?offset=3", end, true)
		if status, tag, _ := get("?offset=5", "*"); status != 200 || tag != "" {
			t.Errorf("an empty page: %d %s", status, tag)
		}
		f.log.set(func(m *memLog) { m.cold = false })
		produce()
		f.log.set(func(m *memLog) { m.cold = cold })
		same("?offset=0&limit=3", inside, true)
		same("?offset=0&limit=5", filled, false) // it says now that there is more
		same("?offset=3", end, false)
		f.call("POST", "/broker/commit", `{"topic":"t","group":"g","partition":0,"offset":2}`)
		same("?offset=0&limit=3", inside, false) // it says what is committed
		_, tag, body := get("?offset=0&limit=3", "")
		status, head, _ := f.raw("HEAD", "/broker/consume/t/g/0?offset=0&limit=3", "", "If-None-Match", tag)
		if status != 304 || len(head) != 0 || !strings.Contains(body, `"committed_offset":2`) {
			t.Error(status, body)
		}
	}
}

// TestTagsTellPagesApart: no two different answers to one request have the same tag.
func TestTagsTellPagesApart(t *testing.T) {
	f := newFixture(t, "auto", func(o *Options) { o.DefaultPartitions = 2 })
	seen := map[string]string{}
	for i := range 12 {
		f.call("POST", fmt.Sprintf("/broker/topics/t/produce?partition=%d", i%2), fmt.Sprint(i))
		if i%3 == 0 {
			f.call("POST", "/broker/commit", fmt.Sprintf(`{"topic":"t","group":"g","partition":%d,"offset":%d}`, i%2, i/2))
		}
		for _, query := range []string{"", "?limit=2", "?offset=0&max_bytes=200", "?offset=earliest&encoding=b64", "?from_ts_ms=1&limit=3"} {
			for p := range 2 {
				path := fmt.Sprintf("/broker/consume/t/g/%d%s", p, query)
				_, body, h := f.raw("GET", path, "")
				tag := h.Get("ETag")
				if tag == "" {
					continue
				}
				key := path + tag
				if before, ok := seen[key]; ok && before != string(body) {
					t.Errorf("%s: the tag %s names\n%s\nand\n%s", path, tag, before, body)
				}
				seen[key] = string(body)
			}
		}
	}
}
