//go:build leaseblind

package raftlog

// leaseBlind is a deliberate fault: leases go by this node's own settings, whatever the others said. The history checks must
// find that.
const leaseBlind = true
