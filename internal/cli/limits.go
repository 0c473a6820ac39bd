package cli

import "time"

// Limits and defaults.
const (
	serverDefault  = "http://127.0.0.1:1109"
	tokenDefault   = "dev"
	redirectsMax   = 5                      // of one request
	requestTimeout = 30 * time.Second       // of one try, besides what the server was asked to wait
	retryDefault   = 30 * time.Second       // how long to go on trying
	retryPauseMin  = 50 * time.Millisecond  // before the second try
	retryPauseMax  = 2 * time.Second        // before any
	answerBytesMax = 64 << 20               // an answer that is read whole
	lineBytesMax   = 8 << 20                // a line of input, or of a stream
	batchLines     = 1000                   // lines of one request, unless asked otherwise
	batchBytes     = 1 << 20                // bytes of one request's lines, unless one line is larger
	batchesAhead   = 4                      // batches read while one is being sent
	keyWorkers     = 16                     // messages with keys of their own that are under way
	pageMessages   = 1000                   // messages asked for at once
	pageBytes      = 4 << 20                // bytes asked for at once
	followWaitMs   = 20_000                 // a long poll
	followPause    = 250 * time.Millisecond // before a stream that broke is opened again
	progressEvery  = time.Second
	listLimit      = 1000 // keys asked for at once
	consumeGroup   = "ayder-cli"
	errorBytesMax  = 4 << 10 // of an answer that is no JSON, in a message
)
