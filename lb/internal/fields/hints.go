package fields

import (
	"net/netip"
	"slices"
	"strings"
)

// What other balancers call what golb has: ipvsadm, ldirectord, keepalived and HAProxy.
var (
	otherKeys = map[string]string{
		"virtual": "services", "virtual_server": "services", "frontend": "services",
		"real": "servers", "real_server": "servers", "rs": "servers",
		"lb_algo": "scheduler", "lvs_sched": "scheduler", "balance": "scheduler",
		"lb_kind": "method", "lvs_method": "method", "gate": "method", "masq": "method", "ipip": "method",
		"persistent": "persistence", "persistence_timeout": "timeout", "netmask": "prefix", "persistence_granularity": "prefix",
		"sorry_server": "fallback", "ops": "one_packet", "inhibit_on_failure": "quiescent",
		"inter": "interval", "delay_loop": "interval", "connect_timeout": "timeout", "retry": "fall",
		"minconn": "l_threshold", "lthreshold": "l_threshold", "maxconn": "u_threshold", "uthreshold": "u_threshold",
		"query": "name", "user": "login", "username": "login", "file": "path", "url": "path", "ip": "address", "host": "address",
	}
	otherWords = map[string]string{
		"gate": "dsr", "dr": "dsr", "droute": "dsr", "direct": "dsr", "masq": "nat", "masquerade": "nat", "ipip": "tun", "tunnel": "tun",
		"roundrobin": "rr", "static-rr": "wrr", "leastconn": "wlc", "source": "sh",
	}
)

// Meant returns what golb calls a word of another balancer, if that is allowed here.
func Meant(word string, allowed []string) (string, bool) {
	meant, ok := otherWords[strings.ToLower(word)]
	return meant, ok && slices.Contains(allowed, meant)
}

// addressProblem says what is wrong with a text that is no address.
func addressProblem(text string) string {
	if _, err := netip.ParseAddrPort(text); err == nil {
		return "an address with a port, which has a key of its own"
	}
	if _, err := netip.ParsePrefix(text); err == nil {
		return "an address with a prefix length, which has no place here"
	}
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
		return "an address in brackets, which it has to be without"
	}
	if isHostname(text) {
		return "a name, which golb does not look up"
	}
	return ""
}

// isHostname reports whether a text has the form of a host's name: letters, digits and
// hyphens, with a label that is no number.
func isHostname(text string) bool {
	letters := false
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		if label == "" || strings.Trim(strings.ToLower(label), "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
		letters = letters || strings.Trim(label, "0123456789") != ""
	}
	return letters
}
