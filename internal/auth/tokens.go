package auth

// A set of tokens: how it is read from its two sources (an environment variable, a file), how it is
// kept (digests, by their first eight bytes) and how it is swapped. A map lookup rather than a walk
// over all digests, because a server with a token per device has thousands of them, and rather than
// a walk for few and a map for many, because one way is enough when it costs 10 ns beside a hash of
// 60.

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// saltBytes leaves room for a 39-byte token in one SHA-256 block (64 bytes, nine of them padding).
const saltBytes = 16

// Tokens is a set of known tokens. It never changes and may be used by any number of goroutines.
// The zero value and nil know no token.
type Tokens struct {
	salt    [saltBytes]byte
	entries map[uint64]*entry // by the first eight bytes of the digest
}

// entry is one token. Two digests that begin alike hang in one chain, so that the map's key decides
// nothing.
type entry struct {
	digest   [sha256.Size]byte
	scope    Scope
	position int // 1-based, to name the token in errors
	next     *entry
}

// Parse reads the form of RF_BEARER_TOKENS, "t1@scope:t2:t3". An empty text is an empty set. Errors
// name a faulty token by its position and an unknown role by its name.
func Parse(text string) (*Tokens, error) {
	t := newTokens()
	if text == "" {
		return t, nil
	}
	position := 0
	for token := range strings.SplitSeq(text, ":") {
		position++
		if err := t.add([]byte(token), position); err != nil {
			return nil, fmt.Errorf("token %d: %w", position, err)
		}
	}
	return t, nil
}

// ParseFile reads one token per line; empty lines and lines that start with "#" are skipped, white
// space around a token is dropped. A file without a token is an error: it would lock everybody out.
// Errors name file and line.
func ParseFile(path string) (*Tokens, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	defer f.Close()
	t, err := parseLines(f)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %s: %w", path, err)
	}
	return t, nil
}

// Dev returns the tokens of dev mode: "dev" may do everything.
func Dev() *Tokens {
	t, err := Parse("dev")
	if err != nil {
		panic("bug: the dev token does not parse: " + err.Error())
	}
	return t
}

func parseLines(r io.Reader) (*Tokens, error) {
	t := newTokens()
	lines := bufio.NewScanner(r)
	for number := 1; lines.Scan(); number++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := t.add(line, number); err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if t.Len() == 0 {
		return nil, errors.New("the file holds no token")
	}
	return t, nil
}

func newTokens() *Tokens {
	return &Tokens{entries: make(map[uint64]*entry), salt: salt()}
}

// salt is the same for all sets of a process, so that a token is known again in the next one.
var salt = sync.OnceValue(func() (s [saltBytes]byte) {
	rand.Read(s[:]) // never fails: crypto/rand ends the process instead
	return s
})

// add parses "secret[@scope[;limits]]" and adds it.
func (t *Tokens) add(text []byte, position int) error {
	secret, scope := text, Scope{roles: allRoles}
	if at := bytes.LastIndexByte(text, '@'); at >= 0 {
		var err error
		if scope, err = parseScope(text[at+1:]); err != nil {
			return err
		}
		secret = text[:at]
	}
	if err := checkSecret(secret); err != nil {
		return err
	}
	if len(t.entries) == TokensMax {
		return fmt.Errorf("more than %d tokens", TokensMax)
	}
	return t.insert(&entry{digest: t.hash(secret), scope: scope, position: position})
}

func (t *Tokens) insert(e *entry) error {
	key := binary.LittleEndian.Uint64(e.digest[:])
	for other := t.entries[key]; other != nil; other = other.next {
		if other.digest == e.digest {
			return fmt.Errorf("it is the same token as number %d", other.position)
		}
	}
	e.next = t.entries[key]
	t.entries[key] = e
	return nil
}

// find returns the scope of a presented secret, nil if it is not ours.
func (t *Tokens) find(secret []byte) *Scope {
	if t == nil || len(secret) > TokenBytesMax {
		return nil
	}
	digest := t.hash(secret)
	for e := t.entries[binary.LittleEndian.Uint64(digest[:])]; e != nil; e = e.next {
		if subtle.ConstantTimeCompare(e.digest[:], digest[:]) == 1 {
			return &e.scope
		}
	}
	return nil
}

// hash returns the salted digest. The buffer is on the stack: this runs for every request.
func (t *Tokens) hash(secret []byte) [sha256.Size]byte {
	var buf [saltBytes + TokenBytesMax]byte
	copy(buf[:], t.salt[:])
	n := copy(buf[saltBytes:], secret)
	return sha256.Sum256(buf[:saltBytes+n])
}

// Len returns how many tokens the set knows.
func (t *Tokens) Len() int {
	if t == nil {
		return 0
	}
	return len(t.entries)
}

// String tells how many tokens there are and nothing else, so that a set may reach a log by
// accident.
func (t *Tokens) String() string { return fmt.Sprintf("%d tokens (redacted)", t.Len()) }

// GoString is String: %#v prints no digest either.
func (t *Tokens) GoString() string { return t.String() }

// checkSecret accepts visible ASCII: anything else cannot be sent in a header field as it stands.
func checkSecret(secret []byte) error {
	if len(secret) == 0 {
		return errors.New("it is empty")
	}
	if len(secret) > TokenBytesMax {
		return fmt.Errorf("it is longer than %d bytes", TokenBytesMax)
	}
	for _, c := range secret {
		if c <= ' ' || c > '~' {
			return errors.New("it contains white space, a control character or a byte outside ASCII")
		}
	}
	return nil
}

// Holder is where a running server keeps its tokens. All methods may be called by any goroutine,
// none blocks.
type Holder struct {
	// current is replaced as a whole and what it points to never changes, so a reader sees one set
	// or the other.
	current atomic.Pointer[Tokens]
}

// NewHolder returns a holder of t.
func NewHolder(t *Tokens) *Holder {
	h := &Holder{}
	h.current.Store(t)
	return h
}

// Load returns the current set. As long as Load returns the same pointer, an earlier Check holds.
func (h *Holder) Load() *Tokens { return h.current.Load() }

// Swap replaces the set and returns the one it replaced. A token that is in both goes on with what it has used of its limits. t
// must not be in use yet, and no other Swap may run.
func (h *Holder) Swap(t *Tokens) *Tokens {
	t.inherit(h.current.Load())
	return h.current.Swap(t)
}
