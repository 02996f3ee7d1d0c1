// Package benchmarks measures golb against itself and against what is beside it.
//
// The benchmarks of this package run in memory: the hot loop, the connection
// table, the schedulers. README.md says how to read them.
package benchmarks
