package health

import (
	"context"
	"sync/atomic"
)

// Alternate makes a costly check rarely: after each success of Full, the next N checks
// are Cheap. A failure of either makes the next one Full. It is ldirectord's numeric
// checktype.
type Alternate struct {
	Full  Checker
	Cheap Checker
	N     int

	left atomic.Int64 // cheap checks before the next full one
}

// Check makes the check whose turn it is.
func (c *Alternate) Check(ctx context.Context) error {
	if c.left.Add(-1) >= 0 {
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
