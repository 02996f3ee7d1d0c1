package hugepages

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// size is that of a huge page of most machines; where they are larger, advice for
// more of them is good too.
const size = 2 << 20

// advise is madvise(2) with MADV_HUGEPAGE for the whole pages of s. It is advice: that
// a system does not take it changes nothing but the speed.
func advise[T any](s []T) {
	if len(s) == 0 {
		return
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
	skip := int(-uintptr(unsafe.Pointer(&b[0])) % size)
	if len(b) < skip+size {
		return
	}
	_ = unix.Madvise(b[skip:skip+(len(b)-skip)/size*size], unix.MADV_HUGEPAGE)
}
