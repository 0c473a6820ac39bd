package netpoll

import (
	"crypto/tls"
	"fmt"
	"log/slog"
)

// Names of the backends, for Options.Backend.
const (
	BackendAuto  = "auto"
	BackendUring = "uring"
	BackendEvio  = "evio"
)

// Options configure a Server. Zero values mean the defaults of limits.go.
type Options struct {
	Addr      string // host:port to listen on; port 0 lets the system choose, see Server.Addr
	Backend   string // BackendAuto (also ""), BackendUring or BackendEvio
	Loops     int    // how many loops, default 1; evio has one
	ConnsMax  int    // connections at a time, all loops and TLS together
	OutputMax int    // bytes queued on a connection before it is not read any more
	InputMax  int    // unconsumed bytes that a connection may hold; it is not read while it holds as many

	TLSAddr   string      // host:port of a second listener that speaks TLS; "" for none
	TLSConfig *tls.Config // for TLSAddr

	Logger *slog.Logger // default slog.Default()
}

// complete fills in defaults and refuses what makes no sense.
func (o *Options) complete() error {
	setDefault(&o.Loops, 1)
	setDefault(&o.ConnsMax, ConnsMaxDefault)
	setDefault(&o.OutputMax, OutputMaxDefault)
	setDefault(&o.InputMax, InputMaxDefault)
	if o.Backend == "" {
		o.Backend = BackendAuto
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch {
	case o.Loops < 0 || o.Loops > LoopsMax:
		return fmt.Errorf("netpoll: %d loops: want 1 to %d", o.Loops, LoopsMax)
	case o.ConnsMax < 0 || o.ConnsMax > connSlotsMax:
		return fmt.Errorf("netpoll: %d connections: want 1 to %d", o.ConnsMax, connSlotsMax)
	case o.OutputMax < 0 || o.InputMax < 0:
		return fmt.Errorf("netpoll: negative limit of input (%d) or output (%d)", o.InputMax, o.OutputMax)
	case o.Backend != BackendAuto && o.Backend != BackendUring && o.Backend != BackendEvio:
		return fmt.Errorf("netpoll: unknown backend %q: want %s, %s or %s", o.Backend, BackendAuto, BackendUring, BackendEvio)
	case o.TLSAddr != "" && o.TLSConfig == nil:
		return fmt.Errorf("netpoll: TLS address %s without a TLS configuration", o.TLSAddr)
	}
	return nil
}

func setDefault(v *int, value int) {
	if *v == 0 {
		*v = value
	}
}
