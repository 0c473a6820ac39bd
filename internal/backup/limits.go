package backup

const (
	listBytesMax = 1 << 30  // of backup.json
	readBytes    = 2 << 20  // asked of a source at once
	overlapBytes = 64 << 10 // of what is there already that is fetched again and compared
	listTries    = 1000     // lists asked for in one run because files were rewritten or dropped meanwhile
	rangesShown  = 8        // of what can be restored, in a message
	hashBytes    = 1 << 20  // read at once while a file is verified
)
