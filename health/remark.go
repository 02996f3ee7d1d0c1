package health

import (
	"context"
	"sync"

	"github.com/golb/golb/health/printable"
)

// Remark keeps what a person should know of a check that passes, such as that it could not
// look as closely as it was meant to. ctx is that of Checker.Check; of several remarks the
// last counts. Who called Check reads it with [Once] or a [Monitor], else it is lost.
func Remark(ctx context.Context, text string) {
	if r, ok := ctx.Value(remarkKey{}).(*remark); ok {
		r.set(text)
	}
}

type remarkKey struct{}

// remark is the remark of one check, which may hang and go on for long.
type remark struct {
	mu   sync.Mutex
	text string
}

func (r *remark) set(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = printable.Line(text, maxReason)
}

func (r *remark) get() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text
}
