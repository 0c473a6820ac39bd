package raftlog

import "fmt"

// The version of the messages between nodes. Nodes of the same major version make a cluster; a minor version adds what the
// others need not understand. So a cluster goes from one release to the next by restarting its nodes one after the other.
//
// A binary built with the tag previouswire speaks as the last release but this one did: its hello ends a minor version earlier.
// The tests roll a cluster from it to this one and back, which is the proof that both can be mixed.

// The minor versions, by what each has added.
const (
	minorHTTPS = 1 + iota // the HTTPS address in the hello
	minorTimes            // patience and lease in the hello
	minorEnd
)

const (
	protocolMajor   = 1
	protocolVersion = protocolMajor<<16 | protocolMinor
)

// ProtocolVersion is the version of the messages between nodes, as major.minor.
func ProtocolVersion() string { return fmt.Sprintf("%d.%d", protocolMajor, protocolMinor) }
