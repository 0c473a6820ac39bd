package auth

const (
	// TokenBytesMax is the longest secret, in bytes. A random 256-bit secret in hex has 64.
	TokenBytesMax = 512

	// TokensMax is how many tokens one server knows.
	TokensMax = 10_000

	// PrefixBytesMax is the longest scope prefix, in bytes: the longest topic name.
	PrefixBytesMax = 249

	// burstSecondsMax is how long a bucket may take to fill, in seconds: a day.
	burstSecondsMax = 86_400

	// countMax and bytesMax are the highest limits, per second.
	countMax = 1_000_000_000
	bytesMax = 1 << 40

	// basicBytesMax is the longest user-name-and-secret that Basic carries, in bytes before base64.
	basicBytesMax = 2 * TokenBytesMax

	// roleBytesMax is the longest misspelt role that an error repeats, in bytes.
	roleBytesMax = 16
)
