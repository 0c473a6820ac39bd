//go:build invariants

package invariant

// Enabled tells whether checks are compiled in.
const Enabled = true

// Check panics with "bug: " and msg unless cond holds.
func Check(cond bool, msg string) {
	if !cond {
		panic("bug: " + msg)
	}
}
