package dataplane

// What the control plane reads of a full table.

// shortFor is how long after the last new connection that found it full a table counts as
// full: one with as many clients as it has room for is full again and again.
const shortFor = 10 * TicksPerSecond

// Short reports whether new connections find, or lately found, the table full.
func (p *Plane) Short() bool {
	at := Tick(p.shortAt.Load())
	return at != 0 && p.tick().before(at+shortFor)
}

// worthNames are what GivenUp calls entries by their worth, and templates.
var worthNames = [numWorths + 1]string{
	worthOver: "over", worthHalfOpen: "half_open", worthOneWay: "one_way", worthNoData: "no_data",
	worthClosing: "closing", worthYoung: "young", worthEstablished: "established", numWorths: "template",
}

// GivenUp counts the entries that ended for new connections in a full table, by what they
// were; those of 0 are left out.
func (p *Plane) GivenUp() map[string]uint64 {
	n := map[string]uint64{}
	for _, w := range *p.workers.Load() {
		for i := range w.givenUp {
			if more := w.givenUp[i].Load(); more > 0 {
				n[worthNames[i]] += more
			}
		}
	}
	return n
}

// Stateless counts the packets that were forwarded without an entry, since the table had no
// room.
func (p *Plane) Stateless() (n uint64) {
	for _, w := range *p.workers.Load() {
		n += w.stateless.Load()
	}
	return n
}
