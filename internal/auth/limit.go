package auth

// How much a token may do: requests per second, and bytes of request bodies per second.
//
// Each is a bucket that fills steadily and holds one burst. It is kept as one number, the moment at which it will be full again
// (the "theoretical arrival time" of ITU-T I.371's generic cell rate algorithm): whoever takes something puts that moment off.
// So a bucket is one atomic word that all loops share, taking is a load and a compare-and-swap, there is no timer, and a
// bucket that nobody uses costs nothing. A body is let in as long as its bucket is not empty, and may then leave it in debt:
// one that is larger than a burst must pass sooner or later. Rejected: a bucket per loop, because a token's connections are not
// spread evenly.

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"time"
)

// Limit bounds what the bearer of a token may do. Its settings never change; it may be used by any goroutine.
type Limit struct {
	requests, bytes rate
	state           *buckets
}

// rate is a bucket's settings; the zero value is without bound.
type rate struct {
	perSecond uint64
	burstNs   int64 // how long an empty bucket takes to fill
}

// buckets are when each bucket will be full, in nanoseconds of a monotonic clock. They outlive a reload of the tokens.
type buckets struct{ requests, bytes atomic.Int64 }

// Take takes one request with a body of size bytes at the moment now, nanoseconds of a monotonic clock that never stands at
// 0, and returns 0; or it takes nothing and returns how long it will be until a request is let in again. It does not allocate.
func (m *Limit) Take(now int64, size int) (wait time.Duration) {
	if m == nil {
		return 0
	}
	if wait := m.bytes.wait(&m.state.bytes, now); wait > 0 {
		return wait
	}
	if wait := m.requests.takeOne(&m.state.requests, now); wait > 0 {
		return wait
	}
	m.bytes.put(&m.state.bytes, now, uint64(size))
	return 0
}

// cost is how long n units take to come in again.
func (r *rate) cost(n uint64) int64 {
	whole, rest := n/r.perSecond, n%r.perSecond
	return int64(whole)*int64(time.Second) + int64(float64(rest)/float64(r.perSecond)*float64(time.Second))
}

// wait is how long the bucket has been overdrawn for; 0: something is in it.
func (r *rate) wait(full *atomic.Int64, now int64) time.Duration {
	if r.perSecond == 0 {
		return 0
	}
	return time.Duration(max(full.Load()-now-r.burstNs+1, 0))
}

// takeOne takes a whole unit if the bucket has one.
func (r *rate) takeOne(full *atomic.Int64, now int64) (wait time.Duration) {
	if r.perSecond == 0 {
		return 0
	}
	for {
		at := full.Load()
		after := max(at, now) + r.cost(1)
		if wait := after - now - r.burstNs; wait > 0 {
			return time.Duration(wait)
		}
		if full.CompareAndSwap(at, after) {
			return 0
		}
	}
}

// put takes n units whatever is in the bucket.
func (r *rate) put(full *atomic.Int64, now int64, n uint64) {
	for r.perSecond != 0 && n != 0 {
		at := full.Load()
		if full.CompareAndSwap(at, max(at, now)+r.cost(n)) {
			return
		}
	}
}

// parseLimit reads what stands behind a token's scope: name=value joined by ";".
func parseLimit(text []byte) (*Limit, error) {
	m := &Limit{state: &buckets{}}
	var requests, burst, size uint64
	for option := range bytes.SplitSeq(text, []byte(";")) {
		name, value, _ := bytes.Cut(option, []byte("="))
		to, unit, parse := (*uint64)(nil), "/s", parseCount
		switch string(name) {
		case "rate":
			to = &requests
		case "burst":
			to, unit = &burst, ""
		case "bytes":
			to, parse = &size, parseBytes
		default:
			return nil, errors.New("unknown limit (not shown: it may be part of a secret); the limits are rate=N/s, burst=N and bytes=N/s")
		}
		number, ok := bytes.CutSuffix(value, []byte(unit))
		n, valid := parse(number)
		if !ok || !valid || n == 0 {
			return nil, fmt.Errorf("the limit %s is not a number above 0 with %q behind it", name, unit)
		}
		if *to != 0 {
			return nil, fmt.Errorf("the limit %s occurs twice", name)
		}
		*to = n
	}
	if burst != 0 && requests == 0 {
		return nil, errors.New("the limit burst needs a rate")
	}
	if m.bytes.perSecond, m.bytes.burstNs = size, int64(time.Second); requests != 0 {
		if burst == 0 {
			burst = requests
		}
		if burst/requests > burstSecondsMax {
			return nil, fmt.Errorf("the limit burst is more than %d seconds of its rate", burstSecondsMax)
		}
		m.requests.perSecond = requests
		m.requests.burstNs = m.requests.cost(1) * int64(burst) // not cost(burst): no fraction of a request is left over
	}
	return m, nil
}

// parseCount reads a plain number, with K or M for thousands and millions.
func parseCount(b []byte) (uint64, bool) {
	return parseScaled(b, []scale{{"K", 1e3}, {"M", 1e6}}, countMax)
}

// parseBytes reads a number of bytes: K, M, G are powers of 1000, KiB, MiB, GiB of 1024.
func parseBytes(b []byte) (uint64, bool) {
	return parseScaled(b, []scale{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"K", 1e3}, {"M", 1e6}, {"G", 1e9}}, bytesMax)
}

type scale struct {
	suffix string
	factor uint64
}

func parseScaled(b []byte, scales []scale, most uint64) (uint64, bool) {
	factor := uint64(1)
	for _, s := range scales {
		if digits, ok := bytes.CutSuffix(b, []byte(s.suffix)); ok {
			b, factor = digits, s.factor
			break
		}
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil || len(b) == 0 || b[0] == '+' || n > math.MaxUint64/factor || n*factor > most {
		return 0, false
	}
	return n * factor, true
}

// inherit makes t go on with the buckets of the same tokens in old.
func (t *Tokens) inherit(old *Tokens) {
	if t == nil || old == nil || t.salt != old.salt {
		return
	}
	for key, e := range t.entries {
		for ; e != nil; e = e.next {
			if e.scope.limit == nil {
				continue
			}
			for o := old.entries[key]; o != nil; o = o.next {
				if o.digest == e.digest && o.scope.limit != nil {
					e.scope.limit.state = o.scope.limit.state
				}
			}
		}
	}
}
