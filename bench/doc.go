// Package bench holds everything that measures ayder, and nothing that ayder needs.
//
//	ayder-bench/   load generator: closed and open loop, this server and its peers
//	suite/         the standard set: starts servers, runs rounds, writes a report
//	peers/         how each compared server and cluster is started, as real processes
//	peers/etcd/    etcd and its client, a module of its own
//	nethttp/       the consume page served the usual way, for comparison
//	hgrm/          HdrHistogram percentile files, written and read
//	result/        the shape of one measurement, shared by ayder-bench and suite
//	proc/          processor time and memory of a process
//	plot/          .hgrm files to one SVG picture
//	wrk/           scripts for wrk and wrk2, to check ayder-bench against another client
//	run.sh         builds and runs suite; `make bench` calls it
//	publish.sh     puts reports and their pictures into BENCHMARKS.md
//	results/       raw figures of what BENCHMARKS.md shows
//
// Two habits hold everywhere here. A comparison is made in one run, in interleaved
// rounds, and its median is reported: two runs on a shared machine differ by more
// than most improvements. And a client must be cheaper than the server it measures,
// so its own CPU time stands beside every figure.
package bench
