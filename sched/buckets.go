package sched

// buckets is the table of dh and sh. Indexes in place of pointers keep it at 512 bytes
// that the garbage collector need not look at; they fit, because 256 buckets are of at
// most the first 256 servers.
type buckets struct {
	list []*Server // not empty
	slot [256]uint16
}

func (b *buckets) at(i uint8) *Server { return b.list[b.slot[i]] }

// anyEligible saves sh and mh a search through all buckets where none has a server that
// may be picked.
func anyEligible(list []*Server) bool {
	for _, s := range list {
		if s.Eligible() {
			return true
		}
	}
	return false
}
