package health

import (
	"context"
	"sync/atomic"
)

// Alternate asks a costly question rarely: after each success of Full the next N
// checks are Cheap ones. A failure of either makes the next one Full. It is
// ldirectord's numeric checktype; with N 5 or 10 what appliances do.
type Alternate struct {
	Full  Checker
	Cheap Checker
	N     int

	left atomic.Int64 // cheap checks until the next full one
}

// Check asks the one that is due.
func (c *Alternate) Check(ctx context.Context) error {
	if c.left.Add(-1) >= 0 {
		err := c.Cheap.Check(ctx)
		if err != nil {
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
