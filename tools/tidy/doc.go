// Package tidy holds the rules of this tree that a machine can check, and a test that checks them.
//
//	go test ./tools/tidy
//
// It reads every file, whatever its build tags, and reports all violations at once, each as path:line. The rules:
//
//   - imports: the table of which package may import which (imports.go). A new arrow is a decision about the architecture;
//     it is made in the table, in the same commit. Test files may import any package of ours.
//   - sizes: a function over 70 lines or a file over 800 must be listed with a reason (sizes.go). The list only
//     shrinks: an entry that is no longer needed is a violation too.
//   - comments: a file over 80 lines opens with three lines or more that say what it is; every package has a comment; every exported
//     identifier of a public package has one.
//   - texts: no notes to do something later, no paths of one developer's machine, no catch-all package names, gofmt's formatting.
//
// What needs type information is left to staticcheck (make lint). The checks are plain functions from a parsed tree to
// faults, and are themselves tested on small trees made for them, because a check that
// finds nothing looks the same as a clean tree.
package tidy
