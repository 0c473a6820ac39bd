// Package query evaluates filters, projections, aggregates, windows and joins over stored messages.
//
// It is pure: messages in, rows out, no disk, clock or goroutine, so that the same messages give the same rows, byte for
// byte. The caller reads the log, runs the evaluation where it holds up nobody, and says when it has to stop.
//
//	bytes of a message --Decoder--> values of the fields that are asked for --> filter --> rows, groups, pairs
//
// A query is read by ParseQuery, made for a format by Compile, and then answers for the messages that there are (Run, within Limits) or
// goes on for good (Operator, whose state can be put away). Joins have the same three steps, from ParseJoin on. What is wrong with a request, or makes
// an answer impossible, is a RequestError.
//
// A message's format is behind Format and Decoder. JSON is here, because it is what most topics hold; package schema has
// those that need a schema.
package query
