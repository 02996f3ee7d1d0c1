package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// spent is processor time.
type spent struct {
	// balancer is that of the balancer's processes: all that their threads took, softirqs that ran meanwhile included. 0 for
	// a balancer in the kernel, which has none.
	balancer time.Duration
	// lab is that of this process, of all that it started, and of the kernel's ksoftirqd. Softirqs that interrupted other
	// programs or an idle processor are missing.
	lab time.Duration
	// machine is all that was not idle, other programs included, in steps of 10 ms (/proc/stat).
	machine time.Duration
}

func (a spent) minus(b spent) spent {
	return spent{balancer: a.balancer - b.balancer, lab: a.lab - b.lab, machine: a.machine - b.machine}
}

// meter reads processor time. Processes that start later do not count.
type meter struct{ balancer, lab []int }

func newMeter(balancer *process) (meter, error) {
	parents, names, err := processes()
	if err != nil {
		return meter{}, err
	}
	m := meter{lab: descendants(parents, os.Getpid())}
	if balancer != nil {
		m.balancer = descendants(parents, balancer.cmd.Process.Pid)
	}
	for pid, name := range names {
		if strings.HasPrefix(name, "ksoftirqd/") {
			m.lab = append(m.lab, pid)
		}
	}
	return m, nil
}

func (m meter) read() (s spent, err error) {
	if s.balancer, err = timeOf(m.balancer); err != nil {
		return s, err
	}
	if s.lab, err = timeOf(m.lab); err != nil {
		return s, err
	}
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return s, err
	}
	s.machine, err = busy(stat)
	return s, err
}

// timeOf adds up the clocks of processes (clock_getcpuclockid(3)), to the nanosecond.
func timeOf(pids []int) (sum time.Duration, err error) {
	for _, pid := range pids {
		const schedulersClock = 2 // CPUCLOCK_SCHED
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|schedulersClock), &ts); err != nil {
			return 0, fmt.Errorf("processor time of %d: %w", pid, err)
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

// processes are the parents and names of all by number.
func processes() (parents map[int]int, names map[int]string, err error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, nil, err
	}
	parents, names = map[int]int{}, map[int]string{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		if pid, name, parent, ok := parseStat(b); ok {
			parents[pid], names[pid] = parent, name
		}
	}
	return parents, names, nil
}

// parseStat reads the start of /proc/PID/stat: number, name in brackets, which may have any in it, state and parent.
func parseStat(b []byte) (pid int, name string, parent int, ok bool) {
	open, shut := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || shut < open {
		return 0, "", 0, false
	}
	fields := strings.Fields(string(b[shut+1:]))
	if len(fields) < 2 {
		return 0, "", 0, false
	}
	pid, err1 := strconv.Atoi(strings.TrimSpace(string(b[:open])))
	parent, err2 := strconv.Atoi(fields[1])
	return pid, string(b[open+1 : shut]), parent, err1 == nil && err2 == nil
}

// descendants are a process and all that it started, directly or not.
func descendants(parents map[int]int, root int) []int {
	list := []int{root}
	for i := 0; i < len(list); i++ {
		for pid, parent := range parents {
			if parent == list[i] {
				list = append(list, pid)
			}
		}
	}
	return list
}

// busy is the time of all processors that /proc/stat does not call idle or waiting for a disk. What a guest of this machine
// uses is in user's already.
func busy(stat []byte) (time.Duration, error) {
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat starts with %q", line)
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on all that Go runs on
	var sum time.Duration
	for i, field := range fields[1:8] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if idle, iowait := 3, 4; i != idle && i != iowait {
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}
