package hugepages

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"
)

// TestMakeUsesHugePages looks into /proc/self/smaps for what the slice lies on.
func TestMakeUsesHugePages(t *testing.T) {
	mode, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil || strings.Contains(string(mode), "[never]") {
		t.Skipf("the system has no transparent huge pages: %q, %v", mode, err)
	}
	const n = 16 << 20
	s := Make[uint64](n / 8)
	for i := range s {
		if s[i] != 0 {
			t.Fatalf("word %d is %d", i, s[i])
		}
		s[i] = 1
	}
	if got := hugeKiB(t, uintptr(unsafe.Pointer(&s[n/16]))); got == 0 {
		t.Error("no huge page in the mapping of the slice")
	}
}

func TestMakeOfLittleAndNothing(t *testing.T) {
	for _, n := range []int{0, 1, 1000} {
		if s := Make[[64]byte](n); len(s) != n {
			t.Errorf("%d elements, want %d", len(s), n)
		}
	}
}

// hugeKiB is the amount of huge pages in the mapping that has the address.
func hugeKiB(t *testing.T, addr uintptr) (kib int) {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var from, to uintptr
		if n, _ := fmt.Sscanf(lines.Text(), "%x-%x ", &from, &to); n == 2 {
			in = from <= addr && addr < to
		}
		if in && strings.HasPrefix(lines.Text(), "AnonHugePages:") {
			if _, err := fmt.Sscanf(lines.Text(), "AnonHugePages: %d kB", &kib); err != nil {
				t.Fatal(err)
			}
			return kib
		}
	}
	t.Fatalf("no mapping has %#x", addr)
	return 0
}
