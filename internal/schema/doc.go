// Package schema decodes messages that have a schema, Avro and Protobuf, for package query.
//
// Two libraries read the schemas, check them and know their finer points: github.com/twmb/avro, and
// google.golang.org/protobuf with github.com/bufbuild/protocompile. The messages themselves are walked by code of our own, over the tree that
// a schema amounts to, because the libraries build a value for everything that a message has, and a query asks for three fields of
// it: the walk allocates nothing, checks all of the message, and cannot be made to reserve memory by a length that a message claims.
//
//	binary, written with the schema that it is read with  ──────────────────────────► walk ──► values
//	JSON text; another writer's schema; unusual binary ──library──► usual binary ──┘
//
// So there is one walk per format, and what needs more than that (Avro's resolution of two schemas, texts in
// Avro's and Protobuf's JSON) is done by the library, which writes the message anew in the form that the walk reads.
package schema
