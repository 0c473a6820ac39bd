package authority

import "time"

const (
	// skew is how far a node's clock may be behind the one that signed.
	skew = time.Hour

	// idBytesMax is that of a label of a host name (RFC 1035 section 2.3.4), as which certificates carry an id.
	idBytesMax = 63

	// hostBytesMax is that of a host name.
	hostBytesMax = 253

	// hostsMax is how many addresses and names one node may have.
	hostsMax = 64
)
