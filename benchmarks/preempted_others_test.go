//go:build !linux

package benchmarks

// preemptions is not known here.
func preemptions() int64 { return 0 }
