// Package config turns flags and environment into one [Config], by one table.
//
// The table (table.go) has one row per setting: flag, environment variable, group, type, default,
// unit and help. Everything else follows from it: the command line, the environment, --help, the
// error messages. To add a setting, add a field to Config and a row to the table; a test fails when
// one of the two is forgotten.
//
// # Where a value comes from
//
// The flag wins over the environment, the environment over the default; an empty variable counts as
// not set. The promised variables start with RF_, the others with AYDER_; either prefix is read for
// every setting, and two that disagree are an error. Secrets have no flag, because command lines
// can be read by every user of the host.
//
// # How values are written
//
// Sizes are bytes, or carry KiB, MiB or GiB (powers of 1024; KB, MB and GB are refused rather than
// guessed at). Times are milliseconds, or carry ms, s, m or h.
//
// # Clusters
//
// RF_HA_ENABLED makes a node part of a cluster. The settings of that group are checked together by Resolve, which puts what
// they mean into Config.HA (ha.go, nodes.go); it is nil for a single node. Warnings are what can work but is hardly meant.
//
// # Errors
//
// All faults are reported at once, each with the flag or variable that carried the value and what
// would be right. An unknown flag comes with the nearest known one. Nothing is ever ignored.
//
// Only cmd/ayder calls this package: libraries get what they need in their own Options and read
// neither flags nor environment.
package config
