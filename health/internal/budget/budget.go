// Package budget limits how many bytes are read of a peer.
package budget

import "io"

// Reader reads at most Left bytes of From, then returns the error Spent. It keeps the
// error of the last Read, which parsers replace by one of their own.
type Reader struct {
	From  io.Reader
	Left  int
	Spent error
	Err   error // of the last Read
}

// Read reads at most Left bytes.
func (r *Reader) Read(p []byte) (n int, err error) {
	if r.Left <= 0 {
		r.Err = r.Spent
		return 0, r.Err
	}
	n, r.Err = r.From.Read(p[:min(len(p), r.Left)])
	r.Left -= n
	return n, r.Err
}
