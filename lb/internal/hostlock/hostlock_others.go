//go:build !linux

package hostlock

// Set holds nothing: golb balances on Linux hosts only.
type Set struct{}

// Hold succeeds.
func (*Set) Hold([]VIP) error { return nil }

// Close does nothing.
func (*Set) Close() {}
