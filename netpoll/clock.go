package netpoll

import "time"

// epoch is an arbitrary fixed point; only differences to it are ever used.
var epoch = time.Now()

// Now is the monotonic clock of SetDeadline, WakeAt and Loop.Now, in nanoseconds since the program's start. It is
// never 0, which stands for "no time".
func Now() int64 { return int64(time.Since(epoch)) + 1 }
