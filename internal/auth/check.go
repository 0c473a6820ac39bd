package auth

// Check runs for every request whose Authorization field differs from the one before it on the
// connection, so it allocates nothing: the token is hashed where it lies, Basic is decoded into a
// buffer on the stack. Bearer is RFC 6750 (the token's alphabet is not enforced: what is not known
// is not known), Basic is RFC 7617, there for log shippers that can do nothing else.

import (
	"bytes"
	"encoding/base64"
)

// Check looks up the value of an Authorization field, "Bearer T" or "Basic base64(anyone:T)". It
// returns ErrMissing for an empty value and ErrUnknown for everything that is not one of the set's
// tokens. The scope belongs to the set and never changes; authorizationHeader is not kept. It does
// not block or allocate and may be called by any goroutine.
func (t *Tokens) Check(authorizationHeader []byte) (*Scope, error) {
	value := bytes.Trim(authorizationHeader, " \t")
	if len(value) == 0 {
		return nil, ErrMissing
	}
	scheme, credentials, _ := bytes.Cut(value, []byte(" "))
	credentials = bytes.TrimLeft(credentials, " ")
	var scope *Scope
	switch {
	case isScheme(scheme, "bearer"):
		scope = t.find(credentials)
	case isScheme(scheme, "basic"):
		scope = t.findBasic(credentials)
	}
	if scope == nil {
		return nil, ErrUnknown
	}
	return scope, nil
}

// findBasic decodes base64(user ":" token) and looks the token up, whoever the user is.
func (t *Tokens) findBasic(encoded []byte) *Scope {
	var buf [basicBytesMax]byte
	if base64.StdEncoding.DecodedLen(len(encoded)) > len(buf) {
		return nil
	}
	n, err := base64.StdEncoding.Decode(buf[:], encoded)
	if err != nil {
		return nil
	}
	_, secret, ok := bytes.Cut(buf[:n], []byte(":"))
	if !ok {
		return nil
	}
	return t.find(secret)
}

// isScheme compares without regard to case (RFC 9110, section 11.1); want is in lower case.
func isScheme(scheme []byte, want string) bool {
	if len(scheme) != len(want) {
		return false
	}
	for i := range scheme {
		if scheme[i]|0x20 != want[i] {
			return false
		}
	}
	return true
}
