package auth

import "errors"

var (
	// ErrMissing: the request carries no Authorization field, or an empty one. 401.
	ErrMissing = errors.New("authorization is missing")

	// ErrUnknown: the field names no token of ours, or a scheme other than Bearer and Basic. 401.
	ErrUnknown = errors.New("token is unknown")
)
