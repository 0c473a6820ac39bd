package jsonscan

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// jsonTexts are valid and broken texts that between them reach every line of the validator.
var jsonTexts = []string{
	``, ` `, `{}`, `[]`, `""`, `0`, `-0`, `-`, `01`, `1.`, `1.0`, `.5`, `1e5`, `1E+5`, `1e-`, `1e`, `-1.5e-10`, `1a`, `--1`, `+1`,
	`true`, `tru`, `truex`, `false`, `null`, `nul`, `nil`, `True`, `NaN`, ` true `, "\t\r\n1\n", "\v1", "\u00a01",
	`"abc"`, `"abc`, `"a\"b"`, `"\u00e9"`, `"\u00g9"`, `"\u00e"`, `"\x"`, `"\`, `"\u`, `"\/\b\f\n\r\t\\"`, "\"a\x1fb\"", "\"a\x00\"", "\"\x7f\"", "\"\xff\xfe\"",
	`"0123456"`, `"01234567"`, `"012345678"`, `"01234567\n0123456789"`, `"01234567890123456789` + "\x01" + `"`, "\"\x80\x80\x80\x80\x80\x80\x80\x80\x80\"", "\"\xa0\xa2\xdc\x9c\xa0\xa2\xdc\x22",
	`{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a":}`, `{a:1}`, `{"a" : 1 , "b" : [ ] }`, `{"a":1 "b":2}`, `{,}`, `{"a":1}}`, `{"a":1]`, `{1:2}`, `{"a":{"b":{"c":[1,2,{}]}}}`,
	`[1,2]`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `[[[]]]`, `[[[]]`, `[]]`, `[{}]`, `[{},{}]`, `[ { } , { "" : "" } ]`, `[`, `{`, `[1`, `{"a"`, `{"a":1`, `{"`, `1 2`, `{} {}`, `"a""b"`,
	strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 65) + strings.Repeat("]", 64), strings.Repeat(`{"a":[`, 70) + strings.Repeat(`]}`, 70),
	strings.Repeat(`{"a":[`, 70) + strings.Repeat(`}]`, 70), `{"a":1,"a":2}`, `[1,"a",true,null,{"b":[]}]`,
}

func TestScannerAgreesWithEncodingJSON(t *testing.T) {
	var s Scanner
	for _, text := range jsonTexts {
		if got, want := s.Valid([]byte(text)), json.Valid([]byte(text)); got != want {
			t.Errorf("%.80q: %v, encoding/json says %v", text, got, want)
		}
		for cut := range len(text) { // every beginning, then every single byte replaced
			if b := []byte(text[:cut]); s.Valid(b) != json.Valid(b) {
				t.Errorf("%.80q: %v", b, s.Valid(b))
			}
			for _, c := range "\x00\x1f \"\\,:{}[]019.eE+-tu\x7f\x80\xff" {
				b := []byte(text)
				if b[cut] = byte(c); s.Valid(b) != json.Valid(b) {
					t.Errorf("%.80q: %v", b, s.Valid(b))
				}
			}
		}
	}
}

func TestScannerDepth(t *testing.T) {
	var s Scanner
	for _, pair := range [][2]string{{"[", "]"}, {`{"":`, "}"}, {`[{"":`, "}]"}} {
		for _, inside := range []string{"", "0", "[]", "{}"} {
			for _, depth := range []int{1, 63, 64, 65, 4999, 5000, 5001, 9999, 10000, 10001, 60000} {
				if inside == "" && pair[0] != "[" {
					continue
				}
				text := []byte(strings.Repeat(pair[0], depth) + inside + strings.Repeat(pair[1], depth))
				if got, want := s.Valid(text), json.Valid(text); got != want {
					t.Errorf("%d times %s around %q: %v, encoding/json says %v", depth, pair[0], inside, got, want)
				}
			}
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, text := range jsonTexts {
		f.Add([]byte(text))
	}
	var s Scanner
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, want := s.Valid(b), json.Valid(b); got != want {
			t.Fatalf("%q: %v, encoding/json says %v", b, got, want)
		}
	})
}

func BenchmarkScanner(b *testing.B) {
	for _, line := range []string{
		`{"n":1}`,
		`{"id":12345,"user":"user-7","amount":12.5,"ts":1712345678901,"tags":["a","b"],"ok":true}`,
		`{"msg":"` + strings.Repeat("lorem ipsum dolor sit amet ", 20) + `"}`,
	} {
		text := []byte(line)
		b.Run(fmt.Sprintf("scanner/%d", len(text)), func(b *testing.B) {
			var s Scanner
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if !s.Valid(text) {
					b.Fatal("invalid")
				}
			}
		})
		b.Run(fmt.Sprintf("encoding-json/%d", len(text)), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if !json.Valid(text) {
					b.Fatal("invalid")
				}
			}
		})
	}
}
