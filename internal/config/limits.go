package config

import "time"

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	// portDefault is the port of the promise.
	portDefault = 1109

	// tlsPortDefault is where TLS is served when only a certificate is configured.
	tlsPortDefault = 1443

	// bodiesPerSegmentMin relates two limits: a segment must hold a batch made of the longest body,
	// whose records take more room than their text, and should hold several.
	bodiesPerSegmentMin = 4

	// haNodesMax bounds the nodes of a cluster. Every node has a vote, so more than a few make it slower and no safer.
	haNodesMax = 31

	// nodeIDBytesMax keeps an id a label of a host name (RFC 1035 section 2.3.4): certificates carry it as one.
	nodeIDBytesMax = 63

	// hostBytesMax is that of a host name (RFC 1035 section 2.3.4, without the length bytes).
	hostBytesMax = 253

	// priorityMax only has to be more than anybody counts to.
	priorityMax = 1_000_000

	// raftTimeoutMin is the least that the Raft library takes.
	raftTimeoutMin = 5 * time.Millisecond

	// originsMax bounds the origins that web pages may call from; a request's is found by comparing with each.
	originsMax = 255

	// portMax is the last TCP port.
	portMax = 65535

	// suggestionDistanceMax is how many typing errors a suggestion forgives.
	suggestionDistanceMax = 3
)
