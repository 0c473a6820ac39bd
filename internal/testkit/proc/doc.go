// Package proc runs the real program for tests: it builds cmd/ayder once, starts servers on free
// loopback ports with data directories of the test's own, kills, stops and restarts them, and
// speaks HTTP/1.1 to them over plain sockets.
//
//	binary.go   the program, built once per test run
//	emulate.go  programs for another processor
//	server.go   one server process: start, wait until ready, stop, kill, start again
//	spawn_*.go  children that end with the test, even when the test is cut off
//	client.go   a keep-alive connection: requests written as given, answers read one by one
//	broker.go   the calls that every test needs: produce, NDJSON, consume
//	disk_*.go   a file system of the test's own on a loop device, which can be shut down like a
//	            machine that loses power
//	usage_*.go  what a process holds, from /proc
//
// net/http is not used on purpose: a test of a server's HTTP must decide itself which bytes go out
// in which segment, and must see an answer as it came.
//
// Four variables change what is tested: AYDER_BIN names a program that is built already,
// AYDER_BUILD_FLAGS is given to go build ("-race", "-tags giouring -ldflags=-checklinkname=0"),
// AYDER_TEST_EXEC is the emulator that programs need ("qemu-aarch64-static"), and
// AYDER_SERVER_LOG=1 copies what the servers say to standard error.
package proc
