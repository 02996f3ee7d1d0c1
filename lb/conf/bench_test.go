package conf_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/golb/golb/lb"
	"github.com/golb/golb/lb/conf"
)

// manyServices is a file of n services, each with a check and two servers.
func manyServices(n int) []byte {
	var b bytes.Buffer
	b.WriteString("interfaces: [eth0]\nservices:\n")
	for i := range n {
		a := fmt.Sprintf("%d.%d", i>>8&255, i&255)
		fmt.Fprintf(&b, `  - name: web-%d
    vip: 192.168.%s
    port: 80
    scheduler: wrr
    persistence: {timeout: 5m}
    check:
      type: http
      path: /status
      interval: 10s
    servers:
      - address: 10.1.%s
        weight: 2
      - {address: 10.2.%[2]s, weight: 1}
`, i, a, a)
	}
	return b.Bytes()
}

// BenchmarkParse10000 is what a start or a reload of 10,000 services takes until they
// are an lb.Config: reading, decoding and validating.
func BenchmarkParse10000(b *testing.B) {
	data := manyServices(10_000)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conf.Parse("golb.yaml", data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkApply10000 is what the balancer makes of it: new, of a start, and again, of a
// reload that changes nothing.
func BenchmarkApply10000(b *testing.B) {
	cfg, err := conf.Parse("golb.yaml", manyServices(10_000))
	if err != nil {
		b.Fatal(err)
	}
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := lb.New(cfg, lb.Env{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		balancer, err := lb.New(cfg, lb.Env{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := balancer.Apply(b.Context(), cfg); err != nil {
				b.Fatal(err)
			}
		}
	})
}
