package vrrp

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// This file makes Configs of the keepalived.conf of a recording: of as much of it as
// recordings use. An unknown word is an error, so that nothing is left out unseen.

// script is a vrrp_script.
type script struct {
	interval   time.Duration
	fall, rise int
	weight     int
}

// nodeConf is the configuration of one node.
type nodeConf struct {
	configs []Config
	scripts map[string]script
	tracked []string // scripts that the instances track
}

// confParser reads fields.
type confParser struct {
	fields []string
	node   byte // a, b, c
	old    bool // keepalived 2.2
	out    nodeConf

	global   Config // what global_defs say for all instances
	version  uint8
	group4   string
	minGARP  bool
	memberOf map[string]string // sync group by instance
}

// parseConf reads the keepalived.conf of a node.
func parseConf(text string, node byte, old bool) (nodeConf, error) {
	p := &confParser{fields: strings.Fields(text), node: node, old: old, version: 2, memberOf: map[string]string{}}
	p.out.scripts = map[string]script{}
	for len(p.fields) > 0 {
		if err := p.block(p.next()); err != nil {
			return nodeConf{}, err
		}
	}
	for i := range p.out.configs {
		p.out.configs[i].Group = p.memberOf[p.out.configs[i].Name]
	}
	return p.out, nil
}

func (p *confParser) next() string {
	if len(p.fields) == 0 {
		return "}"
	}
	w := p.fields[0]
	p.fields = p.fields[1:]
	return w
}

func (p *confParser) number() int {
	n, _ := strconv.Atoi(p.next())
	return n
}

func (p *confParser) seconds() time.Duration {
	f, _ := strconv.ParseFloat(p.next(), 64)
	return seconds(f)
}

// list returns the fields of { ... }.
func (p *confParser) list() []string {
	p.next()
	var l []string
	for w := p.next(); w != "}"; w = p.next() {
		l = append(l, w)
	}
	return l
}

func (p *confParser) block(kind string) error {
	switch kind {
	case "global_defs":
		p.next()
		for w := p.next(); w != "}"; w = p.next() {
			if err := p.globalWord(w); err != nil {
				return err
			}
		}
	case "vrrp_script":
		name := p.next()
		s := script{interval: time.Second, fall: 1, rise: 1}
		for w := p.next(); w != "}"; w = p.next() {
			switch w {
			case "interval":
				s.interval = p.seconds()
			case "fall":
				s.fall = p.number()
			case "rise":
				s.rise = p.number()
			case "weight":
				s.weight = p.number()
			}
		}
		p.out.scripts[name] = s
	case "vrrp_sync_group":
		name := p.next()
		for w := p.next(); w != "}"; w = p.next() {
			if w == "group" {
				for _, member := range p.list() {
					p.memberOf[member] = name
				}
			}
		}
	case "vrrp_instance":
		return p.instance(p.next())
	default:
		return fmt.Errorf("unknown block %q", kind)
	}
	return nil
}

func (p *confParser) globalWord(w string) error {
	a := &p.global.Announce
	switch w {
	case "router_id":
		p.next()
	case "vrrp_version":
		p.version = uint8(p.number())
	case "vrrp_mcast_group4":
		p.group4 = p.next()
	case "vrrp_min_garp":
		p.minGARP = true
	case "vrrp_garp_interval":
		a.ARPInterval = p.seconds()
	case "vrrp_gna_interval":
		a.NDInterval = p.seconds()
	case "vrrp_higher_prio_send_advert":
		p.global.Keepalived.StepBackSilently = false
	default:
		return p.shared(&p.global, strings.TrimPrefix(w, "vrrp_"))
	}
	return nil
}

// shared reads fields that stand in global_defs, with vrrp_ before them, and in instances.
func (p *confParser) shared(c *Config, w string) error {
	a := &c.Announce
	switch w {
	case "garp_master_repeat":
		a.Repeat = p.number()
	case "garp_master_delay":
		if a.Delay = p.seconds(); a.Delay == 0 {
			a.Delay = -1
		}
	case "garp_master_refresh":
		a.Refresh = p.seconds()
	case "garp_master_refresh_repeat":
		a.RefreshRepeat = p.number()
	case "garp_lower_prio_repeat":
		if a.LowerRepeat = p.number(); a.LowerRepeat == 0 {
			a.LowerRepeat = -1
		}
	case "garp_lower_prio_delay":
		if a.LowerDelay = p.seconds(); a.LowerDelay == 0 {
			a.LowerDelay = -1
		}
	case "lower_prio_no_advert":
		c.LowerNoAdvert = true
	default:
		return fmt.Errorf("unknown word %q", w)
	}
	return nil
}

// keepalived is keepalived's way in all that it differs in.
func (p *confParser) keepalived() Keepalived {
	return Keepalived{
		DropOtherAddresses: p.old, DropOtherChecksum: true, StepBackSilently: true, SlowPreempt: true,
		LatePriority: true, IgnorePause: true, AnswerAll: true, AnySource: true, DroppedDelays: true,
		FirstOwnerYields: p.old,
	}
}

func (p *confParser) instance(name string) error {
	c := p.global
	c.Name, c.Interface, c.Version, c.Keepalived = name, "eth0", p.version, p.keepalived()
	n := p.node - 'a' + 1
	c.Source = netip.AddrFrom4([4]byte{192, 0, 2, n})
	if p.minGARP {
		c.Announce.Repeat, c.Announce.Delay = 1, -1
	}
	if p.group4 != "" {
		c.Multicast = netip.MustParseAddr(p.group4)
	}
	var src string
	p.next()
	for w := p.next(); w != "}"; w = p.next() {
		switch w {
		case "unicast_src_ip", "mcast_src_ip":
			src = p.next()
		case "higher_prio_send_advert":
			c.Keepalived.StepBackSilently = false
		default:
			if err := p.instanceWord(&c, w); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if len(c.Addresses) > 0 && c.Addresses[0].Is6() {
		c.Version = 3
		if len(c.Peers) == 0 {
			c.Source = netip.MustParseAddr(fmt.Sprintf("fe80::ff:fe00:%x", 9+n))
		}
		c.Multicast = netip.Addr{}
	}
	if src != "" {
		c.Source = netip.MustParseAddr(src)
	}
	p.out.configs = append(p.out.configs, c)
	return nil
}

func (p *confParser) instanceWord(c *Config, w string) error {
	switch w {
	case "state":
		c.StartMaster = p.next() == "MASTER"
	case "interface":
		c.Interface = p.next()
	case "virtual_router_id":
		c.VRID = uint8(p.number())
	case "priority":
		c.Priority = uint8(p.number())
	case "advert_int":
		c.Interval = p.seconds()
	case "version":
		c.Version = uint8(p.number())
	case "nopreempt":
		c.NoPreempt = true
	case "preempt_delay":
		c.PreemptDelay = p.seconds()
	case "down_timer_adverts":
		c.DownAdverts = p.number()
	case "unicast_ttl":
		c.TTL = uint8(p.number())
	case "unicast_peer":
		for _, a := range p.list() {
			c.Peers = append(c.Peers, Peer{Addr: netip.MustParseAddr(a)})
		}
	case "virtual_ipaddress":
		c.Addresses = addresses(p.list())
	case "virtual_ipaddress_excluded":
		c.Excluded = addresses(p.list())
	case "v3_checksum_as_v2":
		c.Checksum = ChecksumPlain
	case "old_unicast_checksum":
		c.Checksum = ChecksumPseudoMulticast
	case "use_vmac", "vmac_xmit_base": // matters for frames only
	case "track_script":
		p.out.tracked = append(p.out.tracked, p.list()...)
	case "authentication":
		l := p.list()
		for i := 0; i+1 < len(l); i += 2 {
			switch l[i] {
			case "auth_type":
				c.AH = l[i+1] == "AH"
			case "auth_pass":
				c.Password = l[i+1][:min(len(l[i+1]), 8)]
			}
		}
	case "auth_hmac":
		return p.hmac(c)
	default:
		return p.shared(c, w)
	}
	return nil
}

func (p *confParser) hmac(c *Config) error {
	c.HMAC = &HMAC{}
	p.next()
	for w := p.next(); w != "}"; w = p.next() {
		switch w {
		case "key":
			id := uint8(p.number())
			secret, err := hex.DecodeString(strings.TrimPrefix(p.next(), "hex:"))
			if err != nil {
				return err
			}
			c.HMAC.Keys = append(c.HMAC.Keys, Key{id, secret})
		case "active_key":
			c.HMAC.Active = uint8(p.number())
		case "anti_replay":
			c.HMAC.Monotonic = p.next() == "monotonic"
		case "time_window":
			c.HMAC.Window = p.seconds()
		case "mode":
			c.HMAC.Mode = map[string]HMACMode{"permissive": HMACPermissive, "receive-only": HMACReceiveOnly}[p.next()]
		default:
			return fmt.Errorf("unknown word %q", w)
		}
	}
	return nil
}

// addresses drops the prefix lengths.
func addresses(fields []string) []netip.Addr {
	var l []netip.Addr
	for _, w := range fields {
		a, _, _ := strings.Cut(w, "/")
		if addr, err := netip.ParseAddr(a); err == nil {
			l = append(l, addr)
		}
	}
	return l
}
