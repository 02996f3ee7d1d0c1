// Package hugepages asks the system for large pages under large slices: with pages of
// 4 KiB each random access to a table of some hundred megabytes costs a walk of the
// page tables beside the access itself.
package hugepages

// Make returns a slice of n zeros. T must hold no pointers. Where the system has
// transparent huge pages and lets programs ask for them, the slice lies on such; it
// is memory of the Go heap all the same, and freed like it.
func Make[T any](n int) []T {
	s := make([]T, n)
	advise(s)
	return s
}
