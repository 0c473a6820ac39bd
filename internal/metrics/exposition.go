package metrics

import (
	"fmt"
	"io"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"
)

// ContentType is the media type of what Render writes: the text format, version 0.0.4.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Exposition renders metrics. One serves the whole process; its methods may be called by any
// goroutine but not on a loop.
type Exposition struct {
	standing *prometheus.Registry // what needs no sample: build, Go runtime, process
}

// NewExposition returns an exposition for this build.
func NewExposition(b Build) (*Exposition, error) {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "ayder_build_info",
		Help: "Which program is running; always 1.",
		ConstLabels: prometheus.Labels{
			"version": b.Version, "revision": b.Revision, "ring": b.Ring, "goversion": runtime.Version(),
		},
	})
	info.Set(1)
	e := &Exposition{standing: prometheus.NewRegistry()}
	for _, c := range []prometheus.Collector{
		info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := e.standing.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return e, nil
}

// Render writes the sample, the runtime's and the process's metrics in the format of ContentType,
// families in the order of their names. It blocks as long as w does, which should therefore be a
// buffer. An error is one of w, or tells of a series that must not be (twice the same labels).
func (e *Exposition) Render(w io.Writer, s *Sample) error {
	once := prometheus.NewRegistry()
	if err := once.Register(collector{s}); err != nil {
		return fmt.Errorf("render metrics: %w", err)
	}
	families, err := prometheus.Gatherers{e.standing, once}.Gather()
	if err != nil {
		return fmt.Errorf("render metrics: %w", err)
	}
	encoder := expfmt.NewEncoder(w, expfmt.NewFormat(expfmt.TypeTextPlain))
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			return fmt.Errorf("render metrics: %s: %w", f.GetName(), err)
		}
	}
	return nil
}
