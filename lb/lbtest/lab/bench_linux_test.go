package lab_test

import (
	"fmt"
	"testing"

	"github.com/golb/golb/lb/lbtest/lab"
)

// BenchmarkBuild builds a lab of six hosts on a switch and takes it down.
func BenchmarkBuild(b *testing.B) {
	newLab(b)
	for b.Loop() {
		l, err := lab.New()
		must(b, err)
		s := newSwitch(b, l)
		for i := range 6 {
			h := newHost(b, l, fmt.Sprint("h", i))
			attach(b, l, h, s, 0, fmt.Sprintf("192.0.2.%d/24", i+1), fmt.Sprintf("2001:db8::%d/64", i+1))
		}
		must(b, l.Close())
	}
}

// BenchmarkTCP is what a switch of the lab carries between two hosts, for a ceiling to measure golb against.
func BenchmarkTCP(b *testing.B) {
	for _, addr := range []string{"192.0.2.2:80", "[2001:db8::2]:80"} {
		b.Run(addr, func(b *testing.B) {
			from, to, _ := newPair(b, newLab(b), 0)
			const size = 256 << 20
			b.SetBytes(size)
			for b.Loop() {
				transfer(b, from, to, addr, size)
			}
		})
	}
}
