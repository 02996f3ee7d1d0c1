package procgroup

// Head is a writer that keeps the first bytes written to it: what a command that may
// say any amount of things began with.
type Head struct {
	Bytes []byte
	Most  int // that are kept
}

// Write takes p, and never fails.
func (h *Head) Write(p []byte) (int, error) {
	h.Bytes = append(h.Bytes, p[:min(len(p), h.Most-len(h.Bytes))]...)
	return len(p), nil
}
