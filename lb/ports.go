package lb

import (
	"fmt"

	"github.com/golb/golb/arp"
	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
)

// openPorts opens AF_PACKET sockets.
func openPorts(cfg PortConfig) ([]Port, error) {
	c := afpacket.Config{Interface: cfg.Interface, Index: cfg.Index, SendOnly: cfg.SendOnly, MACs: cfg.MACs}
	if cfg.BusyPoll {
		c.Spin = afpacket.SpinForever
	}
	opened, err := afpacket.OpenGroup(c, cfg.Count)
	if err != nil {
		return nil, err
	}
	ports := make([]Port, len(opened))
	for i, p := range opened {
		ports[i] = p
	}
	return ports, nil
}

// pinTo binds the calling thread to a processor.
func pinTo(cpu int) func() error { return func() error { return afpacket.Pin(cpu) } }

// processors returns the processors that golb may run on.
func processors() ([]int, error) { return afpacket.Processors() }

// openLink opens ARP and ND.
func openLink(cfg LinkConfig) (Link, error) {
	return arp.Open(arp.Config{
		Interface:  cfg.Interface,
		Index:      cfg.Index,
		Logger:     cfg.Logger,
		ProbeTime:  cfg.ProbeTime,
		OnConflict: cfg.OnConflict,

		OnNeighborConflict: cfg.OnNeighborConflict,
	})
}

// linkConfig returns the config of the link on an interface.
func (b *Balancer) linkConfig(iface string, index int) LinkConfig {
	return LinkConfig{
		Interface:  iface,
		Index:      index,
		Logger:     b.env.Logger,
		ProbeTime:  b.cfg.Settings.probeTime(),
		OnConflict: b.onConflict,

		OnNeighborConflict: b.tellNeighborConflict,
	}
}

// tellNeighborConflict tells that another host claims the address of a next hop.
func (b *Balancer) tellNeighborConflict(c NeighborConflict) {
	b.tell(Event{Kind: EventNeighborConflict, Interface: c.Interface, Reason: fmt.Sprintf(
		"%s claims to be %s, which answers at %s and stays there", forward.MAC(c.Claimant), c.Addr, forward.MAC(c.MAC))})
}
