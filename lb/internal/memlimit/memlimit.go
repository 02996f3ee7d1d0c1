// Package memlimit finds how much memory this process may use: a process that takes more is
// killed, or its requests for memory fail.
package memlimit

import (
	"bufio"
	"bytes"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Limit is a bound on memory. The zero value is none.
type Limit struct {
	Bytes uint64
	From  string // what sets it, for people
}

// least keeps the lower one of two limits.
func (l *Limit) least(bytes uint64, from string) {
	if l.Bytes == 0 || bytes < l.Bytes {
		*l = Limit{bytes, from}
	}
}

// unlimited is where cgroup v1 means that there is no limit, with room for its rounding.
const unlimited = 1 << 62

// in returns the least of: the memory of the machine, and the limits of the process's cgroups
// of either version and of all those above. root has proc and sys as the system mounts them.
// What cannot be read is no limit.
func in(root fs.FS) Limit {
	var least Limit
	if kib, ok := memTotal(root); ok {
		least.least(kib<<10, "the memory of this machine")
	}
	groups, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return least
	}
	for line := range strings.Lines(string(groups)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3) // hierarchy, controllers, path: cgroups(7)
		if len(parts) != 3 {
			continue
		}
		switch {
		case parts[0] == "0" && parts[1] == "":
			cgroup(&least, root, "sys/fs/cgroup", parts[2], "memory.max")
			cgroup(&least, root, "sys/fs/cgroup/unified", parts[2], "memory.max")
		case strings.Contains(","+parts[1]+",", ",memory,"):
			cgroup(&least, root, "sys/fs/cgroup/memory", parts[2], "memory.limit_in_bytes")
		}
	}
	return least
}

// cgroup looks at a group and all above it. In a container the group's path may be that on
// the host, of which only the end, or nothing, is there.
func cgroup(least *Limit, root fs.FS, mount, group, file string) {
	for {
		name := path.Join(mount, group, file)
		if n, ok := number(root, name); ok && n < unlimited {
			least.least(n, "cgroup /"+name)
		}
		if group == "/" || group == "." || group == "" {
			return
		}
		group = path.Dir(group)
	}
}

// number reads a file that has one number. "max" is none.
func number(root fs.FS, name string) (n uint64, ok bool) {
	b, err := fs.ReadFile(root, name)
	if err != nil {
		return 0, false
	}
	n, err = strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 64)
	return n, err == nil
}

// memTotal reads the memory of the machine in KiB.
func memTotal(root fs.FS) (kib uint64, ok bool) {
	b, err := fs.ReadFile(root, "proc/meminfo")
	if err != nil {
		return 0, false
	}
	for s := bufio.NewScanner(bytes.NewReader(b)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) >= 2 && f[0] == "MemTotal:" {
			kib, err = strconv.ParseUint(f[1], 10, 64)
			return kib, err == nil
		}
	}
	return 0, false
}
