package lb

import (
	"errors"
	"strings"
	"testing"

	"github.com/golb/golb/lb/internal/memlimit"
)

func TestTableFitsTheMemoryLimit(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name     string
		given    int
		limit    uint64
		size     int
		warns    bool
		mistaken bool
	}{
		{"no limit", 0, 0, 1 << 20, false, false},
		{"no limit, given", 5_000_000, 0, 5_000_000, false, false},
		{"default that fits", 0, 200 * mib, 1 << 20, false, false},
		{"default that does not", 0, 64 * mib, 1 << 18, true, false},
		{"less than golb itself needs", 0, 16 * mib, minConnections, true, false},
		{"given and fits", 1 << 18, 64 * mib, 1 << 18, false, false},
		{"given and does not", 1 << 19, 64 * mib, 1 << 19, false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, limit := Config{MaxConnections: tt.given}, memlimit.Limit{Bytes: tt.limit, From: "cgroup /x"}
			size, warning := cfg.tableSize(limit)
			if size != tt.size || (warning != "") != tt.warns {
				t.Errorf("got %d, %q", size, warning)
			}
			v := &validator{}
			v.hostMemory(&cfg, limit)
			var mistakes ConfigErrors
			if errors.As(v.result(), &mistakes) != tt.mistaken {
				t.Errorf("got %v", mistakes)
			}
			if tt.mistaken && !strings.Contains(mistakes.Error(), "max_connections") {
				t.Errorf("got %v", mistakes)
			}
		})
	}
}
