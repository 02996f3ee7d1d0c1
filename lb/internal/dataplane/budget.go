package dataplane

// answerKind is a kind of packet that golb sends of itself. Each has a budget of its own,
// so that packets which draw one kind, however many, leave the others theirs.
type answerKind uint8

const (
	answerEcho         answerKind = iota // echo reply
	answerTooBig                         // fragmentation needed, packet too big
	answerTimeExceeded                   // TTL or hop limit
	answerUnreachable                    // port unreachable, and errors relayed out of tunnels
	answerReset                          // RST
	answerPageSYN                        // SYN-ACK of a connection to the page
	answerPageACK                        // acknowledgment of what such a client sent
	answerPage                           // the page, of up to ten segments
	answerKinds
)

// answerBudgets are the token buckets of one worker, filled by answer_rate. They hold those
// of one second.
type answerBudgets struct {
	tokens   [answerKinds]int64 // in sixteenths
	refilled Tick
}

// pageACKs is how many acknowledgments one client needs for a page.
const pageACKs = 4

// cost is what an answer takes of its bucket.
func (k answerKind) cost() int64 {
	if k == answerPageACK {
		return TicksPerSecond / pageACKs
	}
	return TicksPerSecond
}

// mayAnswer takes a token for an answer, and reports whether there was one.
func (w *Worker) mayAnswer(snap *Snapshot, kind answerKind) bool {
	b := &w.answers
	if since := int64(w.now - b.refilled); since > 0 {
		rate := int64(snap.settings.AnswerRate)
		for k := range b.tokens {
			b.tokens[k] = min(rate*TicksPerSecond, b.tokens[k]+rate*since)
		}
		b.refilled = w.now
	}
	cost := kind.cost()
	if b.tokens[kind] < cost {
		return false
	}
	b.tokens[kind] -= cost
	return true
}
