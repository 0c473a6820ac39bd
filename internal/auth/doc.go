// Package auth decides who may do what: it parses the configured tokens and checks an Authorization
// field against them.
//
// # Tokens and scopes
//
//	RF_BEARER_TOKENS = token *( ":" token )          one line per token in a file, "#" starts a comment line
//	token            = secret [ "@" scope ]          no scope: everything
//	scope            = role *( "+" role ) [ "/" prefix ] *( ";" limit )
//	limit            = "rate=" N "/s"                requests per second; N may end in K or M
//	                 | "burst=" N                    requests at once after a pause; as many as in one second unless given
//	                 | "bytes=" N "/s"               bytes of request bodies per second, as they are sent; N may end in K, M, G, KiB, MiB or GiB
//	role             = "read" | "write" | "admin"    a role does not contain another
//
// For example secret@read+write/orders.;rate=1000/s;burst=2000;bytes=10M/s. A token without limits has none.
//
// The scope starts at the last "@", so that a scoped secret may contain one. The prefix restricts
// the names of topics and KV namespaces. Anything that is not understood refuses to start: a typing
// error must never become a token with more rights than meant.
//
// # Secrets
//
// The secrets themselves are not kept, only SHA-256 digests salted with random bytes of this
// process. A presented token is hashed once; the first eight bytes of its digest find the entry and
// subtle.ConstantTimeCompare decides. Finding by digest tells an attacker nothing: without the salt
// he cannot steer a digest, so how far a comparison got says nothing about a secret. Nothing in
// this package prints a token; errors name it by its position.
//
// # Reloading
//
// [Tokens] never change once parsed. A [Holder] swaps the whole set atomically; whoever caches the
// outcome of a Check (the api does, per connection) keeps the *Tokens beside it and compares the
// pointer.
package auth
