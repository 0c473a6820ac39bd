package main

import (
	"fmt"
	"testing"
)

func TestRotation(t *testing.T) {
	order := rotation([]weight{{"a", 5}, {"b", 1}, {"c", 1}})
	if got := fmt.Sprint(order); got != "[0 0 1 0 2 0 0]" {
		t.Errorf("order %s, want the smooth one", got)
	}
}

func TestParseMix(t *testing.T) {
	list, err := parseMix("produce=8, consume=2")
	if err != nil || len(list) != 2 || list[1] != (weight{"consume", 2}) {
		t.Errorf("%v, %v", list, err)
	}
	for _, text := range []string{"", "produce", "produce=", "produce=0", "produce=x", "produce=8,", "produce=2000"} {
		if _, err := parseMix(text); err == nil {
			t.Errorf("%q was taken", text)
		}
	}
}

func TestMixedWorkload(t *testing.T) {
	c := testConfig("mixed")
	c.mix = "produce=3,health=1"
	d, err := newHTTPDialect(c)
	if err != nil {
		t.Fatal(err)
	}
	var counts [2]int
	for range 40 {
		_, op := d.request(nil, 0)
		counts[op]++
	}
	if counts != [2]int{30, 10} {
		t.Errorf("shares %v, want 30 and 10", counts)
	}
	if list := d.operations(); list[0].name != "produce" || list[1].name != "health" {
		t.Errorf("operations %v", list)
	}
	c.mix = "produce=1,dance=1"
	if _, err := newHTTPDialect(c); err == nil {
		t.Error("an unknown workload was taken")
	}
}

func TestExpect(t *testing.T) {
	for _, test := range []struct{ workload, query, expect, want string }{
		{"produce", "", "", `"synced":true`},
		{"produce", "timeout_ms=0", "", `"ok":true`},
		{"ndjson", "", "", `"synced":true`},
		{"consume", "", "", `"count":100,`},
		{"consume", "", "none", ""},
		{"health", "", `"status"`, `"status"`},
	} {
		c := testConfig(test.workload)
		c.query, c.expect = test.query, test.expect
		d, err := newHTTPDialect(c)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(d.ops[0].expect); got != test.want {
			t.Errorf("%+v: expects %q", test, got)
		}
	}
}

// TestRequestAllocates pins the promise of dialect for every workload.
func TestRequestAllocates(t *testing.T) {
	for _, workload := range []string{"produce", "ndjson", "consume", "commit", "health"} {
		c := testConfig(workload)
		c.idempotent = true
		d, err := newHTTPDialect(c)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 0, 64<<10)
		if n := testing.AllocsPerRun(100, func() { d.request(buf, 0) }); n != 0 {
			t.Errorf("%s: %v allocations per request", workload, n)
		}
	}
}
