package sched

// buckets is the table of dh and sh. Indexes instead of pointers keep it at 512
// bytes and out of the garbage collector's way; they fit because a table of 256
// names at most the first 256 servers.
type buckets struct {
	list []*Server // not empty
	slot [256]uint16
}

func (b *buckets) at(i uint8) *Server { return b.list[b.slot[i]] }

// anyEligible spares sh and mh a search through all buckets where no server could
// be found.
func anyEligible(list []*Server) bool {
	for _, s := range list {
		if s.Eligible() {
			return true
		}
	}
	return false
}
