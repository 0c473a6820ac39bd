// Package differential holds tests that ask SQLite the same questions as package query, about the same random messages.
//
// It is a package of its own because SQLite takes minutes to compile; package query's own tests do not wait for that.
package differential
