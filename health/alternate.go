package health

import (
	"context"
	"sync/atomic"
	"time"
)

// Alternate makes a costly check rarely: after each success of Full, the next N checks
// are Cheap. A failure of either makes the next one Full. It is ldirectord's numeric
// checktype.
type Alternate struct {
	Full  Checker
	Cheap Checker
	N     int
	// CheapTimeout bounds Cheap within the check's own timeout; 0 does not.
	CheapTimeout time.Duration

	left atomic.Int64 // cheap checks before the next full one
}

// Check makes the check whose turn it is.
func (c *Alternate) Check(ctx context.Context) error {
	if c.left.Add(-1) >= 0 {
		if c.CheapTimeout != 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, c.CheapTimeout)
			defer cancel()
		}
		err := c.Cheap.Check(ctx)
		if err != nil && !NotTried(err) {
			c.left.Store(0)
		}
		return err
	}
	err := c.Full.Check(ctx)
	if err == nil {
		c.left.Store(int64(c.N))
		return nil
	}
	c.left.Store(0)
	return err
}
