package timing

const (
	// ValueNsMax is the longest time a histogram tells apart (60 s, in nanoseconds); longer ones
	// count as this long. Commit timeouts and long polls both end well before it.
	ValueNsMax = 60_000_000_000

	// resolutionNs is the finest step of the histograms, in nanoseconds (HdrHistogram rounds it
	// down to 64).
	resolutionNs = 100

	// significantDigits bounds the relative error of a percentile to 1 %; see the package comment
	// for its price.
	significantDigits = 2
)
