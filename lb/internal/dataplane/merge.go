package dataplane

import "github.com/golb/golb/forward"

// merger merges what is queued for one port.
type merger struct {
	misses uint8 // batches in a row in which nothing could be merged
	skip   uint8 // batches to send unmerged before the next try
}

// merge merges frames of a port into super-packets where it can. After four batches in
// which nothing could be merged, it tries only one batch in sixteen.
func (w *Worker) merge(port int, frames []forward.Frame) []forward.Frame {
	const maxMisses = 4
	m, to := &w.mergers[port], &w.ifaces[port]
	if len(frames) < 2 || !to.GSOTCP || !w.plane.snap.Load().settings.Merge {
		return frames
	}
	if m.skip > 0 {
		m.skip--
		return frames
	}
	merged := w.merging.Merge(frames, to.GSOUDP)
	m.misses++
	if len(merged) < len(frames) {
		m.misses = 0
	}
	m.misses = min(m.misses, maxMisses)
	m.skip = 1<<m.misses - 1
	return merged
}
