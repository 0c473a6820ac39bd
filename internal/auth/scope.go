package auth

// What a token may do: a set of roles and, if it is restricted, a prefix of the names it reaches. Roles
// are bits, so that a route can ask for several at once, and independent of each other: an order
// (admin above write above read) would give a token made for one task the rights of others.

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Role is a set of the things a token may do, one bit each.
type Role uint8

// The roles. Each stands alone: an admin token that shall also read says admin+read.
const (
	Read  Role = 1 << iota // consume, read keys, see metrics
	Write                  // produce, commit, change keys
	Admin                  // create and delete topics, retention, membership, reset

	allRoles = Read | Write | Admin
)

// roleNames is the one list of role names, in the order in which they are printed.
var roleNames = []struct {
	name string
	role Role
}{{"read", Read}, {"write", Write}, {"admin", Admin}}

// String returns the roles' names joined by "+", "none" for the empty set.
func (r Role) String() string {
	var names []string
	for _, n := range roleNames {
		if r&n.role != 0 {
			names = append(names, n.name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, "+")
}

// Scope says what the bearer of a token may do. It never changes and may be read by any goroutine.
type Scope struct {
	roles  Role
	prefix string
	limit  *Limit
}

// Limit is how much the bearer may do; nil: as much as he likes.
func (s *Scope) Limit() *Limit { return s.limit }

// Allows reports whether the scope contains every role of the set.
func (s *Scope) Allows(role Role) bool { return s.roles&role == role }

// AllowsName reports whether the scope reaches a topic or KV namespace of this name. It does not
// allocate.
func (s *Scope) AllowsName(name []byte) bool {
	return len(name) >= len(s.prefix) && string(name[:len(s.prefix)]) == s.prefix
}

// Restricted reports whether the scope reaches only names with a prefix, so that lists must be
// filtered.
func (s *Scope) Restricted() bool { return s.prefix != "" }

// String returns the scope as it is configured: roles and prefix. It contains nothing secret.
func (s *Scope) String() string {
	if s.prefix == "" {
		return s.roles.String()
	}
	return s.roles.String() + "/" + s.prefix
}

// parseScope reads role[+role…][/prefix][;limit…].
func parseScope(text []byte) (Scope, error) {
	text, limits, limited := bytes.Cut(text, []byte(";"))
	var limit *Limit
	if limited {
		var err error
		if limit, err = parseLimit(limits); err != nil {
			return Scope{}, err
		}
	}
	roles, prefix, restricted := bytes.Cut(text, []byte("/"))
	if restricted && len(prefix) == 0 {
		return Scope{}, errors.New("the prefix after the slash is empty; without a slash every name is allowed")
	}
	if err := checkPrefix(prefix); err != nil {
		return Scope{}, err
	}
	scope := Scope{prefix: string(prefix), limit: limit}
	for name := range bytes.SplitSeq(roles, []byte("+")) {
		role, err := parseRole(name)
		if err != nil {
			return Scope{}, err
		}
		scope.roles |= role
	}
	return scope, nil
}

func parseRole(name []byte) (Role, error) {
	for _, n := range roleNames {
		if string(name) == n.name {
			return n.role, nil
		}
	}
	return 0, fmt.Errorf("unknown role %s (the roles are read, write and admin)", printable(name))
}

// printable quotes a misspelt role if it can be nothing but that. What follows an "@" that was
// meant as part of the secret comes here too, and must not be printed.
func printable(role []byte) string {
	if len(role) > roleBytesMax {
		return "(not shown: it may be part of a secret)"
	}
	for _, c := range role {
		if c < 'a' || c > 'z' {
			return "(not shown: it may be part of a secret)"
		}
	}
	return strconv.Quote(string(role))
}

// checkPrefix accepts what a topic name may consist of: a prefix with any other byte could match
// nothing, which is surely not what was meant.
func checkPrefix(prefix []byte) error {
	if len(prefix) > PrefixBytesMax {
		return fmt.Errorf("the prefix is longer than %d bytes", PrefixBytesMax)
	}
	for _, c := range prefix {
		if !isNameByte(c) {
			return fmt.Errorf("the prefix contains %q; names consist of A-Z a-z 0-9 . _ -", c)
		}
	}
	return nil
}

func isNameByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}
