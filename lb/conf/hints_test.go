package conf_test

import (
	"strings"
	"testing"

	"github.com/golb/golb/lb/conf"
)

// TestWhoComesFromAnotherBalancerIsToldGolbsWord: keys, words and whole files of ipvsadm,
// ldirectord, keepalived and HAProxy, and addresses that are more than that.
func TestWhoComesFromAnotherBalancerIsToldGolbsWord(t *testing.T) {
	service := func(lines string) string { return "interfaces: [eth0]\nservices:\n  - " + lines + "\n" }
	for text, want := range map[string]string{
		service("real_server: []"):                         `golb says "servers"`,
		service("lb_algo: rr"):                             `golb says "scheduler"`,
		service("check: {type: http, inter: 2s}"):          `golb says "interval"`,
		service("check: {type: dns, query: a}"):            `golb says "name"`,
		service("check: {type: ftp, user: a}"):             `golb says "login"`,
		service("check: {type: http, file: /x}"):           `golb says "path"`,
		service("method: gate"):                            "golb says dsr",
		service("method: masq"):                            "golb says nat",
		service("method: ipip"):                            "golb says tun",
		service("scheduler: roundrobin"):                   "golb says rr",
		service("vip: www.example.org"):                    "a name, which golb does not look up",
		service("vip: localhost"):                          "a name, which golb does not look up",
		service("vip: 192.0.2.1:80"):                       "an address with a port",
		service("vip: '[::1]:80'"):                         "an address with a port",
		service("vip: '[::1]'"):                            "an address in brackets",
		service("vip: 192.0.2.0/24"):                       "an address with a prefix length",
		service("vip: 192.0.2.300"):                        "IPv4 field has value >255",
		"interfaces: [eth0]\nservices:\n\t- vip: x\n":      "indented with spaces",
		"virtual=192.0.2.1:80\n\treal=192.0.2.2:80 gate\n": "a config of ldirectord",
		"global_defs {\n  router_id a\n}\nvirtual_server 192.0.2.1 80 {\n  lb_algo rr\n}\n": "a config of keepalived",
		"frontend web\n  bind :80\nbackend web\n  server a 192.0.2.2:80\n":                  "a config of HAProxy",
		"-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 192.0.2.2:80 -g -w 1\n":            "a config of ipvsadm",
		strings.Repeat("words ", 10000):                                                     "a single value",
	} {
		_, err := conf.Parse("f", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, want %s", text, err, want)
		} else if len(err.Error()) > 5000 {
			t.Errorf("%.60q: the mistake has %d bytes", text, len(err.Error()))
		}
	}
}
