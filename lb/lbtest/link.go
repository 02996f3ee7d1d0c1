package lbtest

import (
	"context"
	"net/netip"
	"sync"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// Link is ARP and ND on a Wire by a table: an lb.Link that needs no packets.
type Link struct {
	// MAC returns the MAC of an address; ok is false for one that no station has.
	MAC func(addr netip.Addr) (mac forward.MAC, ok bool)

	mu        sync.Mutex
	announced []netip.Addr
}

var _ lb.Link = (*Link)(nil)

// Run waits for the end of ctx.
func (l *Link) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// Stats counts nothing.
func (l *Link) Stats() lb.LinkStats { return lb.LinkStats{} }

// SetVIPs does nothing: stations on the wire know where the VIPs are.
func (l *Link) SetVIPs([]lb.LinkVIP) error { return nil }

// Probe finds no conflict.
func (l *Link) Probe(context.Context, ...netip.Addr) error { return nil }

// Announce remembers the addresses for Announced.
func (l *Link) Announce(_ context.Context, vips ...netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.announced = append(l.announced, vips...)
	return nil
}

// Announced returns all addresses that were announced so far, in order.
func (l *Link) Announced() []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]netip.Addr(nil), l.announced...)
}

// Resolve answers at once from the table.
func (l *Link) Resolve(addr netip.Addr, changed func(mac [6]byte, ok bool)) (stop func()) {
	mac, ok := l.MAC(addr)
	changed(mac, ok)
	return func() {}
}

// Close does nothing.
func (l *Link) Close() error { return nil }
