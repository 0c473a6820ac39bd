// Command cluster runs a cluster on this machine, to try one out or to develop against. It is what make cluster starts:
//
//	cluster [-bin bin/ayder] [-ports 7000,8000,9000] [-dir DIR] [-write-concern N] [-tls=false] [-- further flags of the server]
//
// Each number in -ports is a node: node1, node2 and so on, which listens there for the others and on the port after it
// for clients, all on 127.0.0.1. The first node founds the cluster and has the highest priority. The nodes speak TLS with each other, with
// certificates made on the spot (tools/certs). Without -dir everything is in a temporary directory that is removed at the end.
//
//	main.go     the command line, and the order of things
//	member.go   one node: its settings, its process, its end
//	standing.go who leads, as the nodes' own /metrics_ha says
//	watch.go    what is printed, and when
//	spawn_*.go  children that do not outlive this program
//
// It prints where the nodes are, then every change: another leader, a node that ended and what it said last. SIGINT (^C)
// and SIGTERM end all nodes, by their process ids; a second one does not wait for them. Exit status: 0 ended as asked, 1 failed or every
// node is gone, 2 wrong usage.
package main
