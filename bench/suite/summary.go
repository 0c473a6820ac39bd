package main

import (
	"slices"

	"ayder/bench/result"
)

// Medians. Each figure of a cell gets its own, so a row of a table need not be any
// round that really happened; raw.json has those. A mean was rejected: one round in
// which something else used the machine would shift it.

// summary is the median of one cell's rounds, every figure on its own.
type summary struct {
	rounds       int
	errors       int64 // of all rounds together
	requestsPerS float64
	messagesPerS float64
	latency      result.Percentiles
	serverCPU    float64 // s per million requests; of a cluster, the leader's
	followerCPU  float64 // of a follower on average; 0: there is none
	clientCPU    float64
	rssMiB       float64
}

// find takes the median of what was measured for a cell; rounds is 0 if nothing was.
func (l *lab) find(partName, server, load string) summary {
	var list []*result.Result
	s := summary{}
	for _, r := range l.runs {
		if r.Part == partName && r.Server == server && r.Load == load {
			list = append(list, r.Result)
			s.errors += r.Result.ErrorCount()
		}
	}
	s.rounds = len(list)
	s.requestsPerS = middle(list, func(r *result.Result) float64 { return r.RequestsPerS })
	s.messagesPerS = middle(list, func(r *result.Result) float64 { return r.MessagesPerS })
	s.clientCPU = middle(list, func(r *result.Result) float64 { return r.ClientCPU.PerMillionS })
	s.latency = medianPercentiles(list, func(r *result.Result) result.Percentiles { return r.Latency })
	if s.rounds > 0 && list[0].Server != nil {
		s.serverCPU = middle(list, func(r *result.Result) float64 { return r.Server.CPU.PerMillionS })
		s.followerCPU = middle(list, followerCPU)
		s.rssMiB = middle(list, func(r *result.Result) float64 { return float64(r.Server.RSSBytes) / (1 << 20) })
	}
	return s
}

// followerCPU is what a follower used on average.
func followerCPU(r *result.Result) float64 {
	sum := 0.0
	for _, f := range r.Followers {
		sum += f.CPU.PerMillionS
	}
	return sum / float64(max(len(r.Followers), 1))
}

// middle is the median of one figure.
func middle[T any](list []T, of func(T) float64) float64 {
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = of(v)
	}
	return result.Median(values)
}

// medianPercentiles takes the median of each percentile.
func medianPercentiles[T any](list []T, of func(T) result.Percentiles) result.Percentiles {
	at := func(pick func(result.Percentiles) float64) float64 {
		return middle(list, func(v T) float64 { return pick(of(v)) })
	}
	return result.Percentiles{
		Count:  int64(at(func(p result.Percentiles) float64 { return float64(p.Count) })),
		Mean:   at(func(p result.Percentiles) float64 { return p.Mean }),
		P50:    at(func(p result.Percentiles) float64 { return p.P50 }),
		P90:    at(func(p result.Percentiles) float64 { return p.P90 }),
		P99:    at(func(p result.Percentiles) float64 { return p.P99 }),
		P999:   at(func(p result.Percentiles) float64 { return p.P999 }),
		P9999:  at(func(p result.Percentiles) float64 { return p.P9999 }),
		P99999: at(func(p result.Percentiles) float64 { return p.P99999 }),
		Max:    at(func(p result.Percentiles) float64 { return p.Max }),
	}
}

// typicalRound is the round whose p99.9 is the median one: the round to draw, since
// a picture cannot be a median of pictures. −1 if there is none.
func (l *lab) typicalRound(partName, server, load string) int {
	type entry struct {
		round int
		p999  float64
	}
	var list []entry
	for _, r := range l.runs {
		if r.Part == partName && r.Server == server && r.Load == load {
			list = append(list, entry{r.Round, r.Result.Latency.P999})
		}
	}
	if len(list) == 0 {
		return -1
	}
	slices.SortFunc(list, func(a, b entry) int {
		if a.p999 < b.p999 {
			return -1
		}
		return 1
	})
	return list[(len(list)-1)/2].round
}

// stages takes the median of each stage of the route that did most of the work.
func (l *lab) stages(partName, server, load string) map[string]result.Percentiles {
	byStage := map[string][]result.Percentiles{}
	for _, r := range l.runs {
		if r.Part != partName || r.Server != server || r.Load != load {
			continue
		}
		for name, p := range busiest(r.Result.Stages) {
			byStage[name] = append(byStage[name], p)
		}
	}
	medians := map[string]result.Percentiles{}
	for name, list := range byStage {
		medians[name] = medianPercentiles(list, func(p result.Percentiles) result.Percentiles { return p })
	}
	return medians
}

// busiest is the stages of the route with the most requests.
func busiest(routes []result.Route) map[string]result.Percentiles {
	var best map[string]result.Percentiles
	most := int64(0)
	for _, route := range routes {
		for _, p := range route.Stages {
			if p.Count > most {
				best, most = route.Stages, p.Count
			}
		}
	}
	return best
}
