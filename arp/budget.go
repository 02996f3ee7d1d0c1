package arp

import "time"

// budget is a token bucket: burst at once, and one more each interval.
type budget struct {
	interval time.Duration
	burst    int
	// empty is when the bucket was, or will be, just empty; it is full burst intervals
	// later.
	empty time.Time
}

// take takes n if at least one is left, and reports whether it did. What it takes beyond
// that is owed.
func (b *budget) take(now time.Time, n int) bool {
	if full := now.Add(-time.Duration(b.burst) * b.interval); b.empty.Before(full) {
		b.empty = full
	}
	if b.empty.Add(b.interval).After(now) {
		return false
	}
	b.empty = b.empty.Add(time.Duration(n) * b.interval)
	return true
}

// reserve takes one, and returns when that one may be used: now, or once it is there.
func (b *budget) reserve(now time.Time) time.Time {
	if full := now.Add(-time.Duration(b.burst) * b.interval); b.empty.Before(full) {
		b.empty = full
	}
	b.empty = b.empty.Add(b.interval)
	if b.empty.Before(now) {
		return now
	}
	return b.empty
}

// LogLimit limits the log lines of one kind that packets can cause: ten at once, then one in
// ten seconds. The zero value is ready. It is not safe for concurrent use.
type LogLimit struct {
	lines   budget
	omitted int // since the last line
}

// Take reports whether a line may be written now, and how many were omitted since the last
// one, which the line is to say.
func (l *LogLimit) Take(now time.Time) (omitted int, ok bool) {
	l.lines.interval, l.lines.burst = 10*time.Second, 10
	if !l.lines.take(now, 1) {
		l.omitted++
		return 0, false
	}
	omitted, l.omitted = l.omitted, 0
	return omitted, true
}
