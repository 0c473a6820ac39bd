package query

// Limits that no setting changes.
const (
	pathNamesMax   = 32 // names in a path
	wholeDigitsMax = 20 // digits of the largest number of 64 bits
)
