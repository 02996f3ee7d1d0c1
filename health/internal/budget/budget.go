// Package budget bounds what is read of a peer that may say any amount of things.
package budget

import "io"

// Reader reads as many bytes of From as are Left, then fails with Spent. It remembers
// the error at which it stopped: parsers that find half an answer report that instead.
type Reader struct {
	From  io.Reader
	Left  int
	Spent error
	Err   error // of the last Read
}

// Read reads at most what is left.
func (r *Reader) Read(p []byte) (n int, err error) {
	if r.Left <= 0 {
		r.Err = r.Spent
		return 0, r.Err
	}
	n, r.Err = r.From.Read(p[:min(len(p), r.Left)])
	r.Left -= n
	return n, r.Err
}
