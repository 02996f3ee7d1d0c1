package memlimit

import (
	"testing"
	"testing/fstest"
)

func TestTheLeastLimitCounts(t *testing.T) {
	const mib = 1 << 20
	meminfo := "MemTotal:        1048576 kB\nMemFree:  100 kB\n"
	machine := Limit{1024 * mib, "the memory of this machine"}
	tests := []struct {
		name  string
		files map[string]string
		want  Limit
	}{
		{"nothing to read", nil, Limit{}},
		{"the machine", map[string]string{"proc/meminfo": meminfo}, machine},
		{"cgroup without limit", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, machine},
		{"cgroup", map[string]string{"proc/meminfo": meminfo, "proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "67108864\n"},
			Limit{64 * mib, "cgroup /sys/fs/cgroup/a/memory.max"}},
		{"a cgroup above", map[string]string{
			"proc/self/cgroup": "0::/a/b/c\n", "sys/fs/cgroup/a/b/c/memory.max": "134217728\n", "sys/fs/cgroup/a/memory.max": "67108864\n",
		}, Limit{64 * mib, "cgroup /sys/fs/cgroup/a/memory.max"}},
		{"a container's, which is the root there", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "67108864\n"},
			Limit{64 * mib, "cgroup /sys/fs/cgroup/memory.max"}},
		{"a container's, by its path on the host", map[string]string{
			"proc/self/cgroup": "5:cpu,memory:/docker/abc\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
		}, Limit{64 * mib, "cgroup /sys/fs/cgroup/memory/memory.limit_in_bytes"}},
		{"version 1 without limit", map[string]string{"proc/self/cgroup": "5:memory:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "9223372036854771712\n"}, Limit{}},
		{"another controller", map[string]string{"proc/self/cgroup": "5:cpu:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "67108864\n"}, Limit{}},
		{"both versions", map[string]string{
			"proc/self/cgroup": "5:memory:/a\n0::/u\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "67108864\n", "sys/fs/cgroup/unified/u/memory.max": "1048576\n",
		}, Limit{mib, "cgroup /sys/fs/cgroup/unified/u/memory.max"}},
		{"not numbers", map[string]string{"proc/meminfo": "MemTotal: many\n", "proc/self/cgroup": "junk\n0::/a\n", "sys/fs/cgroup/a/memory.max": "-1\n"}, Limit{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range tt.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := in(root); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}
