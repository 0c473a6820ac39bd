// The peers which are Go programs, kept out of the product's go.mod: nothing of
// ours imports them, bench/suite builds and starts them as processes.
module ayder

go 1.26.0

require github.com/nats-io/nats-server/v2 v2.15.2
