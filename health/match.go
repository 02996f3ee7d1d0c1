package health

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"regexp"
	"regexp/syntax"
	"slices"
)

// matchAnswer reads r until re matches, at most limit bytes, and keeps no more than
// the beginning. Its error is a reason that begins with what.
func matchAnswer(ctx context.Context, what string, r io.Reader, re *regexp.Regexp, limit int64) error {
	in := &matchReader{r: io.LimitReader(r, limit)}
	if !hasLookahead(re) {
		in.re = re
	}
	if re.MatchReader(bufio.NewReader(in)) || in.matched {
		return nil
	}
	if ctx.Err() != nil {
		in.err = ctx.Err()
	}
	switch failed := in.err != nil && !isClosed(in.err); {
	case failed && in.n == 0:
		return fmt.Errorf("%s: %w", what, netReason(ctx, in.err))
	case failed:
		return fmt.Errorf("%s: %w after %d bytes without a match of %q, which begin %s", what, netReason(ctx, in.err), in.n, re, quote(in.head))
	case in.n == limit:
		return fmt.Errorf("%s: no match of %q in the first %d KiB, which begin %s", what, re, limit>>10, quote(in.head))
	}
	return mismatch(what, in.head, fmt.Sprintf("a match of %q", re))
}

// hasLookahead reports whether a match of re can depend on what comes after it.
func hasLookahead(re *regexp.Regexp) bool {
	var does func(*syntax.Regexp) bool
	does = func(part *syntax.Regexp) bool {
		switch part.Op {
		case syntax.OpEndLine, syntax.OpEndText, syntax.OpWordBoundary, syntax.OpNoWordBoundary:
			return true
		}
		return slices.ContainsFunc(part.Sub, does)
	}
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	return err != nil || does(tree)
}

// matchReader passes a reader on and keeps its first bytes, its length and its error,
// none of which regexp.MatchReader reports.
type matchReader struct {
	r    io.Reader
	head []byte
	n    int64
	err  error

	// regexp.MatchReader takes one character more than the match, which may never come.
	// So a short answer is matched by itself before more of it is read.
	re      *regexp.Regexp // nil where more of the answer can change the match
	matched bool
}

// maxHead bounds head in bytes: a slow server has it matched again for each byte.
const maxHead = 1024

func (m *matchReader) Read(p []byte) (int, error) {
	if m.re != nil && m.n > 0 && m.n == int64(len(m.head)) && m.re.Match(m.head) {
		m.matched = true
		return 0, io.EOF
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.head = append(m.head, p[:min(n, maxHead-len(m.head))]...)
	m.err = err
	return n, err
}
