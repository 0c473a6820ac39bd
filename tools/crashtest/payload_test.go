package main

import (
	"bytes"
	"encoding/json"
	"testing"
)

const testSeed = 0xfeedbeef

// Everything that the audit knows of a message comes from these two functions.
func TestPayloadSaysWhoItIs(t *testing.T) {
	for _, n := range []name{{}, {1, 2, 3, 4}, {nameFieldMax, nameFieldMax, 1<<32 - 1, nameFieldMax}} {
		for _, ndjson := range []bool{false, true} {
			p := appendPayload(nil, testSeed, n, ndjson)
			got, err := parseName(testSeed, p)
			if err != nil || got != n {
				t.Errorf("%+v, NDJSON %v: read back as %+v, %v", n, ndjson, got, err)
			}
			if again := appendPayload(nil, testSeed, n, ndjson); !bytes.Equal(p, again) {
				t.Errorf("%+v: two payloads of one name differ", n)
			}
		}
	}
}

func TestPayloadOfALineIsOneJSONValue(t *testing.T) {
	for i := range uint32(2000) {
		p := appendPayload(nil, testSeed, name{request: i}, true)
		if !json.Valid(p) || bytes.IndexByte(p, '\n') >= 0 {
			t.Fatalf("request %d: %.100q", i, p)
		}
	}
}

func TestPayloadsDifferAndVaryInSize(t *testing.T) {
	seen := map[string]bool{}
	small, medium, large := 0, 0, 0
	for i := range uint32(20_000) {
		p := appendPayload(nil, testSeed, name{request: i}, false)
		if seen[string(p)] {
			t.Fatalf("request %d has the bytes of another", i)
		}
		seen[string(p)] = true
		switch {
		case len(p) > mediumBytes+nameBytes:
			large++
		case len(p) > smallBytes+nameBytes:
			medium++
		default:
			small++
		}
	}
	if small == 0 || medium == 0 || large == 0 {
		t.Errorf("%d small, %d medium, %d large payloads", small, medium, large)
	}
}

func TestParseNameRefusesWhatIsNotOurs(t *testing.T) {
	good := appendName(nil, testSeed, name{1, 2, 3, 4})
	for _, text := range []string{"", `"`, "hello", string(good[:nameBytes-1]), "x" + string(good[1:]), `""` + string(good)} {
		if n, err := parseName(testSeed, []byte(text)); err == nil {
			t.Errorf("%q is taken for %+v", text, n)
		}
	}
	if _, err := parseName(testSeed+1, good); err == nil {
		t.Error("a message of another seed is taken for ours")
	}
}
