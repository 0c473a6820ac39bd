package config

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

	// suggestionDistanceMax is how many typing errors a suggestion forgives.
	suggestionDistanceMax = 3
)
