package procgroup

// Head is a writer that keeps the first Most bytes written to it, and discards the others.
type Head struct {
	Bytes []byte
	Most  int
}

// Write never fails.
func (h *Head) Write(p []byte) (int, error) {
	h.Bytes = append(h.Bytes, p[:min(len(p), h.Most-len(h.Bytes))]...)
	return len(p), nil
}
