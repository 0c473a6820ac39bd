package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The answers that a page shows, compared with what came. Times, offsets and rates differ from run to run, so what is compared is
// the shape: in JSON the members of every object, the kind of every value and what is true, false or null; in text the
// words, with every number taken for any other. Where a page leaves something out it says so by an ellipsis: the member or element
// "…", or a line that is "…".

const ellipsis = "…"

// differsAsJSON compares the JSON values in got with those in shown, "" if they have the same shape.
func differsAsJSON(shown, got string) string {
	want, err := jsonValues(shown)
	if err != nil {
		return fmt.Sprintf("the answer that is shown is not JSON: %v", err)
	}
	have, err := jsonValues(got)
	if err != nil {
		return fmt.Sprintf("not JSON: %v", err)
	}
	if len(want) != len(have) {
		return fmt.Sprintf("%d values are shown, %d came", len(want), len(have))
	}
	for i := range want {
		if d := differs("", want[i], have[i]); d != "" {
			return d
		}
	}
	return ""
}

// jsonValues are the values that a text has one behind the other.
func jsonValues(text string) (values []any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	for {
		var v any
		if err := d.Decode(&v); err != nil {
			if errors.Is(err, io.EOF) {
				return values, nil
			}
			return nil, err
		}
		values = append(values, v)
	}
}

func differs(at string, want, have any) string {
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok {
			return fmt.Sprintf("%s: an object is shown, %T came", at, have)
		}
		return objectDiffers(at, want, have)
	case []any:
		have, ok := have.([]any)
		if !ok {
			return fmt.Sprintf("%s: an array is shown, %T came", at, have)
		}
		if n := len(want); n > 0 && want[n-1] == ellipsis {
			want = want[:n-1]
			have = have[:min(len(have), len(want))]
		}
		if len(want) != len(have) {
			return fmt.Sprintf("%s: %d elements are shown, %d came", at, len(want), len(have))
		}
		for i := range want {
			if d := differs(fmt.Sprintf("%s[%d]", at, i), want[i], have[i]); d != "" {
				return d
			}
		}
	case bool, nil:
		if want != have {
			return fmt.Sprintf("%s: %v is shown, %v came", at, want, have)
		}
	default:
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", have) {
			return fmt.Sprintf("%s: %v is shown, %v came", at, want, have)
		}
	}
	return ""
}

func objectDiffers(at string, want, have map[string]any) string {
	_, some := want[ellipsis]
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if name == ellipsis {
			continue
		}
		v, ok := have[name]
		if !ok {
			return fmt.Sprintf("%s.%s is shown and did not come", at, name)
		}
		if d := differs(at+"."+name, want[name], v); d != "" {
			return d
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok && !some {
			return fmt.Sprintf("%s.%s came and is not shown", at, name)
		}
	}
	return ""
}

var numbers = regexp.MustCompile(`[0-9]+([.,][0-9]+)*`)

// differsAsText compares lines.
func differsAsText(shown, got string) string {
	have := strings.Split(strings.Trim(got, "\n"), "\n")
	gap := false
	for line := range strings.SplitSeq(strings.Trim(shown, "\n"), "\n") {
		if strings.TrimSpace(line) == ellipsis {
			gap = true
			continue
		}
		i := slices.IndexFunc(have, func(h string) bool { return sameWords(line, h) })
		if i < 0 || i > 0 && !gap {
			return fmt.Sprintf("the line %q is shown and did not come here", line)
		}
		have, gap = have[i+1:], false
	}
	if len(have) > 0 && !gap {
		return fmt.Sprintf("the line %q came and is not shown", have[0])
	}
	return ""
}

func sameWords(a, b string) bool {
	return numbers.ReplaceAllString(strings.TrimSpace(a), "0") == numbers.ReplaceAllString(strings.TrimSpace(b), "0")
}

// shownAs is how an answer is written into a page: JSON in lines that are not too long, broken between members and elements.
func shownAs(kind, got string) string {
	if kind != "json" {
		return strings.Trim(got, "\n")
	}
	var all []string
	d := json.NewDecoder(strings.NewReader(got))
	for {
		var v json.RawMessage
		if d.Decode(&v) != nil {
			return strings.Join(all, "\n")
		}
		all = append(all, folded(string(v), ""))
	}
}

const shownWidth = 110

// folded is a JSON value whose first line has no indentation and is followed by nothing but what closes it.
func folded(v, indent string) string {
	if len(indent)+len(v) <= shownWidth || v[0] != '{' && v[0] != '[' {
		return v
	}
	d := json.NewDecoder(strings.NewReader(v))
	_, _ = d.Token()
	text, width := v[:1], len(indent)+1
	for first := true; d.More(); first = false {
		part := ""
		if v[0] == '{' {
			name, _ := d.Token()
			part = fmt.Sprintf("%q:", name)
		}
		var element json.RawMessage
		if d.Decode(&element) != nil {
			return v
		}
		part += folded(string(element), indent+" ")
		long := strings.Contains(part, "\n") || width+len(part) > shownWidth
		switch {
		case first:
		case long:
			text, width = text+",\n"+indent+" ", len(indent)+1
		default:
			text, width = text+",", width+1
		}
		if text += part; strings.Contains(part, "\n") {
			width = shownWidth
		}
		width += len(part)
	}
	return text + v[len(v)-1:]
}

func TestAnswersAreCompared(t *testing.T) {
	for _, tt := range []struct {
		kind, shown, got string
		same             bool
	}{
		{"json", `{"a":1,"b":true}`, `{"a":7,"b":true}`, true},
		{"json", `{"a":1,"b":true}`, `{"a":7,"b":false}`, false},
		{"json", `{"a":1}`, `{"a":"1"}`, false},
		{"json", `{"a":1}`, `{"a":1,"b":2}`, false},
		{"json", `{"a":1,"…":""}`, `{"a":1,"b":2}`, true},
		{"json", `{"a":1,"b":2}`, `{"a":1}`, false},
		{"json", `{"a":null}`, `{"a":1}`, false},
		{"json", `[{"a":1}]`, `[{"b":1}]`, false},
		{"json", `[1]`, `[1,2]`, false},
		{"json", `[1,"…"]`, `[1,2]`, true},
		{"json", "1\n2", "3 4", true},
		{"json", "1", "", false},
		{"text", "took 5.1 ms", "took 12 ms\n", true},
		{"text", "took 5.1 ms", "lasted 12 ms\n", false},
		{"text", "…\nb 1\n…", "a\nb 2\nc", true},
		{"text", "b 1\n…", "a\nb 2\nc", false},
		{"text", "a\nb", "a\nb\nc", false},
	} {
		compare := differsAsJSON
		if tt.kind == "text" {
			compare = differsAsText
		}
		if d := compare(tt.shown, tt.got); (d == "") != tt.same {
			t.Errorf("%q and %q: %q", tt.shown, tt.got, d)
		}
	}
	long := `{"messages":[{"offset":0,"value":"` + strings.Repeat("x", 70) + `"},{"offset":1,"value":"[,]"}],"count":2}`
	if d := differsAsJSON(long, shownAs("json", long)); d != "" || !strings.Contains(shownAs("json", long), ",\n \"count\":2}") {
		t.Errorf("%s\n%s", d, shownAs("json", long))
	}
}
