package query

// Limits that no setting changes.
const (
	pathNamesMax   = 32 // names in a path
	wholeDigitsMax = 20 // digits of the largest number of 64 bits

	requestDepthMax = 64            // levels of nesting in a request
	requestItemsMax = 20_000        // elements of arrays and maps in a request
	conditionsMax   = 1000          // conditions in a filter, at all depths
	listValuesMax   = 10_000        // values of all "in" lists of a filter
	groupFieldsMax  = 16            // fields of group_by
	measuresMax     = 64            // measures of an aggregate
	projectedMax    = 256           // fields of left_fields, and of right_fields
	aliasesMax      = 256           // other names of fields, of one source
	nameBytesMax    = 256           // bytes of a field's or measure's name
	keyFieldsMax    = 16            // fields of a join's key
	offsetsMax      = 1024          // partitions in source.offsets: as many as a topic has
	scanDefault     = 200           // messages that a query looks at
	scanMax         = 100_000       // the same, when asked for
	rowBytesMax     = 16 << 20      // bytes of a row that a query that runs for good gives out
	rowsMax         = 100_000       // emit_rows
	windowsPerMax   = 1000          // hopping windows that cover one instant
	expiryMessages  = 256           // messages between two looks at whether time is up
	expiryBytes     = 1 << 20       // bytes of messages between the same
	windowMsMax     = 36525 * 864e5 // a hundred years: size_ms, gap_ms, allowed_lateness_ms

	// timeMsMax is the range of usable times around 1970, in milliseconds: that of ECMAScript's Date. Windows around such times
	// do not overflow.
	timeMsMax = 8_640_000_000_000_000
)

// Limits of joins.
const (
	joinScanDefault   = 500    // messages of each side that are looked at
	joinSizeMsDefault = 60_000 // window.size_ms
	joinRowsDefault   = 200    // emit.max_rows

	joinProgressMessages = 16 // messages whose times say how far a side is

	pushedBytesMax     = 8 << 20  // bytes of rows that one message may give to a join that runs for good
	settledBytesEnough = 1 << 20  // bytes of rows after which that join leaves messages to be settled later
	operatorBytesMax   = 16 << 20 // bytes of what it remembers
)
