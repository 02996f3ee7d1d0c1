//go:build !linux

package memlimit

// OfProcess knows of no limit.
func OfProcess() Limit { return Limit{} }
