package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// mustParse parses a text that has to be right.
func mustParse(t testing.TB, text string) *Tokens {
	t.Helper()
	tokens, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func basic(user, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
}

func TestScopes(t *testing.T) {
	tests := []struct {
		text        string // of one token
		roles       Role
		name        string // one that is reached
		hidden      string // one that is not; "" if all are
		description string
	}{
		{"t", Read | Write | Admin, "anything", "", "read+write+admin"},
		{"t@read", Read, "anything", "", "read"},
		{"t@write+read", Read | Write, "", "", "read+write"},
		{"t@admin", Admin, "x", "", "admin"},
		{"t@admin+admin+read+write", Read | Write | Admin, "x", "", "read+write+admin"},
		{"t@read/orders.", Read, "orders.eu", "orders", "read/orders."},
		{"t@read+write/a", Read | Write, "a", "b", "read+write/a"},
	}
	for _, tt := range tests {
		scope, err := mustParse(t, tt.text).Check([]byte("Bearer t"))
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		for _, n := range roleNames {
			if got, want := scope.Allows(n.role), tt.roles&n.role != 0; got != want {
				t.Errorf("%s: allows %s = %v", tt.text, n.name, got)
			}
		}
		if !scope.AllowsName([]byte(tt.name)) {
			t.Errorf("%s does not reach %q", tt.text, tt.name)
		}
		if tt.hidden != "" && (scope.AllowsName([]byte(tt.hidden)) || !scope.Restricted()) {
			t.Errorf("%s reaches %q", tt.text, tt.hidden)
		}
		if scope.String() != tt.description {
			t.Errorf("%s is described as %q", tt.text, scope)
		}
	}
}

func TestAllowsNeedsEveryRole(t *testing.T) {
	scope := &Scope{roles: Read}
	if scope.Allows(Read | Write) {
		t.Error("read alone is enough for read and write")
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ text, want string }{
		{"a:b@raed", `token 2: unknown role "raed" (the roles are read, write and admin)`},
		{"a@read+", `token 1: unknown role ""`},
		{"a@", `token 1: unknown role ""`},
		{"a@/x", `token 1: unknown role ""`},
		{"a@read/", "token 1: the prefix after the slash is empty"},
		{"a@read/b c", "token 1: the prefix contains ' '"},
		{"a@read/" + strings.Repeat("p", PrefixBytesMax+1), "token 1: the prefix is longer than 249 bytes"},
		{"a@Read", "token 1: unknown role (not shown"},
		{":", "token 1: it is empty"},
		{"a:", "token 2: it is empty"},
		{"@read", "token 1: it is empty"},
		{"a b", "token 1: it contains white space"},
		{"ü", "token 1: it contains"},
		{strings.Repeat("x", TokenBytesMax+1), "token 1: it is longer than 512 bytes"},
		{"a:b:a@read", "token 3: it is the same token as number 1"},
	}
	for _, tt := range tests {
		if tokens, err := Parse(tt.text); err == nil || !strings.HasPrefix(err.Error(), tt.want) || tokens != nil {
			t.Errorf("Parse(%.40q) = %v, want %q", tt.text, err, tt.want)
		}
	}
}

// TestErrorsRepeatNoSecret gives every kind of fault a secret that is easy to find again.
func TestErrorsRepeatNoSecret(t *testing.T) {
	const mark = "S3cretMark"
	for _, text := range []string{
		mark + "@nope", mark + ":" + mark, "p@" + mark, "p@read+" + mark, mark + " ", "x@" + strings.Repeat("q", 20),
		mark + strings.Repeat("x", TokenBytesMax),
	} {
		if _, err := Parse(text); err == nil || strings.Contains(err.Error(), mark) || strings.Contains(err.Error(), "qqqq") {
			t.Errorf("Parse(%.30q) = %v", text, err)
		}
	}
}

func TestTokensPrintNothingSecret(t *testing.T) {
	tokens := mustParse(t, "hunter2:hunter3@read")
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("tokens", "tokens", tokens)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("tokens", "tokens", tokens)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		fmt.Fprintf(&log, verb, tokens)
	}
	text := log.String()
	if strings.Contains(text, "hunter") || strings.Contains(text, "salt") || !strings.Contains(text, "2 tokens (redacted)") {
		t.Errorf("printed %s", text)
	}
}

func TestCheck(t *testing.T) {
	long := strings.Repeat("L", TokenBytesMax)
	tokens := mustParse(t, "t1:t2@read:p@q@write:x/y+z==:"+long)
	accepted := []string{
		"Bearer t1", "bearer t1", "BEARER   t2", " Bearer t1\t", "Bearer p@q", "Bearer x/y+z==", "Bearer " + long,
		basic("", "t1"), basic("fluent", "t2"), basic("übung", "p@q"), basic("u", long), strings.Replace(basic("u", "t1"), "Basic", "bAsIc", 1),
	}
	for _, header := range accepted {
		if _, err := tokens.Check([]byte(header)); err != nil {
			t.Errorf("Check(%.40q) = %v", header, err)
		}
	}
	unknown := []string{
		"Bearer", "Bearer ", "Bearer t", "Bearer t11", "Bearer t1 x", "Bearer T1", "Bearer t1,", "Bearer\tt1", "t1", "Token t1", "Digest t1",
		"Bearer t2@read", "Bearer " + long + "L", "Basic t1", "Basic ", "Basic !!!!", "Basic " + base64.StdEncoding.EncodeToString([]byte("t1")),
		basic("t1", ""), basic("t1", "x"), basic("u", "v:t1"), basic(strings.Repeat("u", 4000), "t1"), basic("u", "t1") + "=",
	}
	for _, header := range unknown {
		if scope, err := tokens.Check([]byte(header)); !errors.Is(err, ErrUnknown) || scope != nil {
			t.Errorf("Check(%.40q) = %v, %v", header, scope, err)
		}
	}
	for _, header := range []string{"", " ", "\t "} {
		if scope, err := tokens.Check([]byte(header)); !errors.Is(err, ErrMissing) || scope != nil {
			t.Errorf("Check(%q) = %v, %v", header, scope, err)
		}
	}
}

func TestNoTokensKnowNobody(t *testing.T) {
	for name, tokens := range map[string]*Tokens{"nil": nil, "zero": {}, "empty text": mustParse(t, "")} {
		if _, err := tokens.Check([]byte("Bearer dev")); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
		if tokens.Len() != 0 {
			t.Errorf("%s has %d tokens", name, tokens.Len())
		}
	}
}

func TestDev(t *testing.T) {
	scope, err := Dev().Check([]byte("Bearer dev"))
	if err != nil || !scope.Allows(Read|Write|Admin) || scope.Restricted() {
		t.Errorf("dev: %v, %v", scope, err)
	}
}

func TestParseFile(t *testing.T) {
	write := func(text string) string {
		path := filepath.Join(t.TempDir(), "tokens")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tokens, err := ParseFile(write("# shippers\n\n  t1@read \r\nwith:colon@write/logs\n\t# indented comment\nlast"))
	if err != nil || tokens.Len() != 3 {
		t.Fatalf("%v, %v", tokens, err)
	}
	for header, want := range map[string]string{"Bearer t1": "read", "Bearer with:colon": "write/logs", basic("u", "with:colon"): "write/logs", "Bearer last": "read+write+admin"} {
		if scope, err := tokens.Check([]byte(header)); err != nil || scope.String() != want {
			t.Errorf("%s: %v, %v, want %s", header, scope, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                                  "the file holds no token",
		"# nothing\n":                       "the file holds no token",
		"a\n\nb@raed\n":                     `line 3: unknown role "raed"`,
		"a\na\n":                            "line 2: it is the same token as number 1",
		"a b\n":                             "line 1: it contains white space",
		"a\n" + strings.Repeat("x", 100000): "token too long",
	} {
		path := write(text)
		if _, err := ParseFile(path); err == nil || !strings.HasPrefix(err.Error(), "read tokens: "+path+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", text, err, want)
		}
	}
	if _, err := ParseFile(filepath.Join(t.TempDir(), "none")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestEntriesThatShareAKey forces two digests into one chain, which no real pair of tokens will do.
func TestEntriesThatShareAKey(t *testing.T) {
	tokens := mustParse(t, "a@read")
	digest := tokens.hash([]byte("a"))
	digest[31] ^= 1
	if err := tokens.insert(&entry{digest: digest, position: 2}); err != nil {
		t.Fatal(err)
	}
	if scope := tokens.find([]byte("a")); scope == nil || !scope.Allows(Read) {
		t.Errorf("found %v behind an entry with the same key", scope)
	}
	if err := tokens.insert(&entry{digest: digest, position: 3}); err == nil {
		t.Error("the same digest was added twice")
	}
}

func TestDigestsAreSalted(t *testing.T) {
	tokens := Dev()
	if plain := sha256.Sum256([]byte("dev")); tokens.hash([]byte("dev")) == plain || tokens.salt == [saltBytes]byte{} {
		t.Error("a token's digest can be told without the process's salt")
	}
}

func TestTooManyTokens(t *testing.T) {
	var text strings.Builder
	for i := range TokensMax + 1 {
		fmt.Fprintf(&text, "%d:", i)
	}
	all := strings.TrimSuffix(text.String(), ":")
	if _, err := Parse(all); err == nil || !strings.Contains(err.Error(), "more than 10000 tokens") {
		t.Errorf("%v", err)
	}
	if _, err := Parse(all[:strings.LastIndexByte(all, ':')]); err != nil {
		t.Errorf("as many as allowed: %v", err)
	}
}

func TestHolderSwapsUnderReaders(t *testing.T) {
	h := NewHolder(mustParse(t, "old"))
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 500 {
				tokens := h.Load()
				_, errOld := tokens.Check([]byte("Bearer old"))
				_, errNew := tokens.Check([]byte("Bearer new"))
				if (errOld == nil) == (errNew == nil) {
					t.Errorf("a set knows old: %v, new: %v", errOld, errNew)
					return
				}
			}
		})
	}
	old := h.Load()
	if h.Swap(mustParse(t, "new")) != old {
		t.Error("Swap did not return the replaced set")
	}
	readers.Wait()
	if h.Load() == old {
		t.Error("the pointer did not change")
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	tokens := mustParse(t, "t1:t2@read/x")
	for _, header := range []string{"Bearer t2", basic("user", "t2"), "Bearer nobody", ""} {
		value := []byte(header)
		if n := testing.AllocsPerRun(200, func() { _, _ = tokens.Check(value) }); n != 0 {
			t.Errorf("Check(%q) allocates %v times", header, n)
		}
	}
	scope, name := tokens.find([]byte("t2")), []byte("xyz")
	if n := testing.AllocsPerRun(200, func() { _ = scope.AllowsName(name) }); n != 0 {
		t.Errorf("AllowsName allocates %v times", n)
	}
}

// FuzzParse looks for panics, for tokens with more rights than written, and for a secret that a set
// does not find again.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"t1@read:t2:t3", "a@read+write/orders", "a@b@admin", ":", "@", "a@/", "x@read/", "a@read+read"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := Parse(text)
		if err != nil {
			return
		}
		if text == "" {
			return
		}
		for token := range strings.SplitSeq(text, ":") {
			secret, scopeText := token, ""
			if at := strings.LastIndexByte(token, '@'); at >= 0 {
				secret, scopeText = token[:at], token[at+1:]
			}
			scope, err := tokens.Check([]byte("Bearer " + secret))
			if err != nil {
				t.Fatalf("%q is not found in %q", secret, text)
			}
			for _, n := range roleNames {
				if scopeText != "" && scope.Allows(n.role) && !strings.Contains(scopeText, n.name) {
					t.Fatalf("%q allows %s", token, n.name)
				}
			}
			if strings.Contains(scopeText, "/") != scope.Restricted() {
				t.Fatalf("%q: restricted %v", token, scope.Restricted())
			}
		}
	})
}

// FuzzCheck looks for panics, and for a value that is accepted without containing the token in some
// form.
func FuzzCheck(f *testing.F) {
	for _, header := range []string{"Bearer t1", "Basic dTp0MQ==", "Basic Og==", "bearer", "", "Basic", "Bearer  t1 "} {
		f.Add([]byte(header))
	}
	tokens := mustParse(f, "t1")
	f.Fuzz(func(t *testing.T, header []byte) {
		scope, err := tokens.Check(header)
		if (scope == nil) == (err == nil) {
			t.Fatalf("%q: %v and %v", header, scope, err)
		}
		if err == nil && !strings.Contains(string(header), "t1") && !isBasicT1(header) {
			t.Fatalf("%q is accepted", header)
		}
	})
}

func isBasicT1(header []byte) bool {
	fields := strings.Fields(string(header))
	if len(fields) < 2 {
		return false
	}
	decoded, _ := base64.StdEncoding.DecodeString(strings.Join(fields[1:], ""))
	return strings.HasSuffix(string(decoded), ":t1")
}

func BenchmarkCheckBearer(b *testing.B) {
	tokens := mustParse(b, "0123456789abcdef0123456789abcdef:t2:t3:t4")
	header := []byte("Bearer 0123456789abcdef0123456789abcdef")
	for b.Loop() {
		_, _ = tokens.Check(header)
	}
}
