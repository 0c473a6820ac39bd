package query

// Limits that no setting changes.
const (
	pathNamesMax = 32 // names in a path
)
