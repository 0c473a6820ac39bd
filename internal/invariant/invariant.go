// Package invariant states what must hold, where checking it would cost too much in production.
//
// Built with -tags invariants, Check panics when its condition is false; without the tag it is
// empty and disappears. Cheap checks do not belong here: they are plain ifs with a panic whose text
// starts with "bug:", and are always on. For a condition that is itself costly to compute, guard it
// with Enabled, which is a constant, so that the compiler drops the whole block:
//
//	if invariant.Enabled {
//		invariant.Check(sorted(index), "index is out of order")
//	}
package invariant
