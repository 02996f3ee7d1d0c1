package lb

import (
	"fmt"

	"github.com/golb/golb/lb/internal/memlimit"
)

const (
	connectionBytes = 128      // of the table, for each connection
	otherMemory     = 32 << 20 // bytes that golb needs beside the table
)

// fitting is the size of the largest table that fits a memory limit beside all else. A
// quarter of the memory is left to what grows with the traffic.
func fitting(limit memlimit.Limit) int {
	if limit.Bytes == 0 {
		return maxConnections
	}
	room := min(limit.Bytes/4*3, max(limit.Bytes, otherMemory)-otherMemory)
	return min(int(room/connectionBytes)&^1023, maxConnections)
}

// tableSize is the size of the connection table under a memory limit, with a warning where
// the default does not fit.
func (c *Config) tableSize(limit memlimit.Limit) (size int, warning string) {
	if c.MaxConnections != 0 {
		return c.MaxConnections, ""
	}
	fits := max(fitting(limit), minConnections)
	if fits >= defaultConnections {
		return defaultConnections, ""
	}
	return fits, fmt.Sprintf("max_connections is %d in place of %d: %s allows %d MiB", fits, defaultConnections, limit.From, limit.Bytes>>20)
}

// hostMemory finds a table that does not fit the memory limit.
func (v *validator) hostMemory(c *Config, limit memlimit.Limit) {
	if fits := fitting(limit); c.MaxConnections > fits {
		v.fail("max_connections", c.MaxConnections, fmt.Sprintf("its table takes %d MiB, and %s allows %d in all", c.MaxConnections*connectionBytes>>20, limit.From, limit.Bytes>>20),
			fmt.Sprintf("up to %d", fits))
	}
}
