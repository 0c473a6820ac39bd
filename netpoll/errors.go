package netpoll

import "errors"

var (
	// ErrAborted is what Close gets for a connection that Abort ended.
	ErrAborted = errors.New("netpoll: connection aborted by the server")
	// ErrShutdown is what Close gets when Shutdown's context was done before the connection was.
	ErrShutdown = errors.New("netpoll: connection aborted by shutdown")
	// ErrFlushTimeout is what Close gets when the peer did not take the output after CloseWhenSent.
	ErrFlushTimeout = errors.New("netpoll: peer does not take the output")
	// ErrUnsupported is in the error of Listen when the wanted backend cannot work here.
	ErrUnsupported = errors.New("netpoll: backend unavailable")
)
