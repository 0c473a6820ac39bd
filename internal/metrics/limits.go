package metrics

const (
	// PartitionsMax is how many partitions get series of their own. Three series each: beyond this
	// a scrape would be megabytes, and Prometheus would suffer more than we would.
	PartitionsMax = 2000

	// GroupLagsMax is how many of the places at which groups read get a series of their own.
	GroupLagsMax = 2000

	// boundsMax is the largest number of bounds of a Histogram.
	boundsMax = 24

	// cacheLineBytes keeps what one loop writes away from what another one does.
	cacheLineBytes = 64
)
