package schema

// Limits that no setting changes.
const (
	textBytesMax = 256 << 10 // a schema's text, or descriptor set
	depthMax     = 1000      // levels of records, arrays and maps in a message, or in a schema

	// visitsPerByte and visitsMin bound the work for one message: values that take no bytes are free to claim.
	visitsPerByte = 16
	visitsMin     = 64 << 10

	// treeValuesMax bounds the values of a message that a library has to make a tree of, which takes up to a hundred bytes for each.
	treeValuesMax = 1 << 20

	decimalScaleMax    = 1000    // digits behind the point of an Avro decimal, beyond which it is bytes
	decimalBytesMax    = 1024    // of an Avro decimal without leading bytes that only say its sign: what is larger is no float64 with any such scale
	sortedDepthMax     = 64      // levels of maps whose keys are shown sorted; each may copy all that is inside
	writersBytesMax    = 4 << 20 // schemas of writers that a decoder remembers, as text; compiled they take up to fifty times that
	confluentHeadBytes = 5       // a zero and the schema's id
	protoLineBytesMax  = 8 << 10
	messageIndexesMax  = 100 // levels of messages declared in messages
	errorBytesMax      = 400 // of what a compiler says about a schema
)
