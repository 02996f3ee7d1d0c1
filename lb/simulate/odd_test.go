package simulate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/golb/golb/lb/simulate"
)

// TestCornersWhereIPVSsRulesMeet is about what no recording has: what has to come out
// was worked out from the rules. Server N is 10.9.1.N; the newest is first in ip_vs's
// lists, so that round robin begins with it.
func TestCornersWhereIPVSsRulesMeet(t *testing.T) {
	const (
		tcp    = " -t 10.0.0.100:80 "
		udp    = " -u 10.0.0.100:53 "
		server = "-a -t 10.0.0.100:80 -g -r 10.9.1."
		edit   = "-e -t 10.0.0.100:80 -g -r 10.9.1."
	)
	for _, c := range []struct {
		name   string
		sysctl string
		setup  []string
		// events are packets, as "syn 1" from 192.0.2.1:4000 or "udp 2:4001", seconds
		// to sleep, as "61 s", or commands.
		events []string
		// want is for each packet the server it went to, - where the client got an
		// answer of the director's, . where nobody got anything.
		want string
	}{
		{"all weights are 0", "", []string{"-A" + tcp + "-s wlc", server + "1 -w 0", server + "2 -w 0"}, []string{"syn 1"}, "-"},
		{"weight 0 lets known clients in", "", []string{"-A" + tcp + "-s rr -p 60", server + "1", server + "2"},
			[]string{"syn 1", "ack 1", edit + "2 -w 0", edit + "1 -w 0", "syn 1:4001", "syn 2"}, "222-"},
		{"but not with expire_quiescent_template", "expire_quiescent_template=1", []string{"-A" + tcp + "-s rr -p 60", server + "1", server + "2"},
			[]string{"syn 1", edit + "2 -w 0", "syn 1:4001", "ack 1", "syn 1:4002"}, "2121"},
		{"thresholds close at the upper and open below the lower", "", []string{"-A" + tcp + "-s rr", server + "1 -x 2 -y 1", server + "2 -x 2 -y 1"},
			[]string{"syn 1", "syn 2", "syn 3", "syn 4", "syn 5", "ack 2", "rst 2", "11 s", "syn 9", "60 s", "syn 10", "syn 11"}, "2121-11-21"},
		{"known clients pass thresholds", "", []string{"-A" + tcp + "-s rr -p 60", server + "1 -x 2", server + "2 -x 2"},
			[]string{"syn 1", "syn 1:4001", "syn 1:4002", "syn 1:4003", "syn 2", "syn 2:4001", "syn 3"}, "222211-"},
		{"a higher upper threshold opens at once, a lower one closes with the next connection", "", []string{"-A" + tcp + "-s rr", server + "1 -x 1"},
			[]string{"syn 1", "syn 2", edit + "1 -x 2", "syn 3", "syn 4", edit + "1 -x 3", "syn 5", edit + "1 -x 1", "syn 6"}, "1-1-1-"},
		{"packets of one client, each scheduled anew, stick", "", []string{"-A" + udp + "-s rr -o -p 60", "-a" + udp + "-r 10.9.1.1 -g", "-a" + udp + "-r 10.9.1.2 -g"},
			[]string{"udp 1", "udp 1", "udp 2", "udp 2", "udp 1", "58 s", "udp 1", "58 s", "udp 1", "udp 3"}, "22112222"},
		{"lblc goes on with a full server that it knows", "", []string{"-A" + tcp + "-s lblc", server + "1 -x 2", server + "2 -x 2"},
			[]string{"syn 1", "syn 2", "syn 3", "syn 4", "syn 5", "syn 6"}, "221111"},
		{"ovf fills to one more than the weight", "", []string{"-A" + tcp + "-s ovf", server + "1 -w 2", server + "2 -w 1"},
			[]string{"syn 1", "syn 2", "syn 3", "syn 4", "syn 5", "syn 6"}, "11122-"},
		{"fo passes by a full server", "", []string{"-A" + tcp + "-s fo", server + "1 -w 5 -x 1", server + "2 -w 1"}, []string{"syn 1", "syn 2", "syn 3"}, "122"},
		{"nq prefers idle servers in their order, then sed", "", []string{"-A" + tcp + "-s nq", server + "1 -w 1", server + "2 -w 0", server + "3 -w 9"},
			[]string{"syn 1", "syn 2", "syn 3", "syn 4", "syn 5"}, "31333"},
		{"connections of a server that is back go on", "", []string{"-A" + tcp + "-s rr", server + "1", server + "2"},
			[]string{"syn 1", "ack 1", "-d" + tcp + "-r 10.9.1.2", "ack 1", server + "2", "ack 1"}, "22.2"},
		{"and those of a service that is back", "", []string{"-A" + tcp + "-s rr", server + "1", server + "2"},
			[]string{"syn 1", "ack 1", "-D" + tcp, "ack 1", "-A" + tcp + "-s wlc", server + "2", "ack 1", "syn 3"}, "22.22"},
		{"expire_nodest_conn ends them", "expire_nodest_conn=1", []string{"-A" + tcp + "-s rr", server + "1", server + "2"},
			[]string{"syn 1", "ack 1", "-d" + tcp + "-r 10.9.1.2", "ack 1", "syn 1", "ack 1"}, "22-11"},
		{"and a SYN leaves a server of weight 0", "expire_nodest_conn=1", []string{"-A" + tcp + "-s rr", server + "1", server + "2"},
			[]string{"syn 1", "ack 1", edit + "2 -w 0", "ack 1", "syn 1"}, "2221"},
		{"another scheduler changes nothing for connections", "", []string{"-A" + tcp + "-s rr", server + "1", server + "2"},
			[]string{"syn 1", "ack 1", "-E" + tcp + "-s fo", "ack 1", "syn 1", "syn 2"}, "22222"},
		{"a connection that a SYN ends still counts when its successor is scheduled", "", []string{"-A" + tcp + "-s rr", server + "1 -x 1"},
			[]string{"syn 1", "ack 1", "rst 1", "syn 1", "syn 1"}, "111-1"},
		{"also where it moves the client to a less loaded server", "", []string{"-A" + tcp + "-s wlc", server + "1", server + "2"},
			[]string{"syn 1", "fin 1", "syn 1", "fin 1", "syn 1"}, "22112"},
		{"a template stays when a SYN ends its connection", "expire_nodest_conn=1", []string{"-A" + tcp + "-s rr -p 60", server + "1", server + "2"},
			[]string{"syn 1", edit + "2 -w 0", "syn 1", edit + "2 -w 1", "syn 1:4001"}, "222"},
		{"expire_nodest_conn ends them, though the server comes back", "expire_nodest_conn=1", []string{"-A" + tcp + "-s rr", server + "1", server + "2"},
			[]string{"syn 1", "ack 1", "-d" + tcp + "-r 10.9.1.2", server + "2", "ack 1"}, "22-"},
		{"and templates too", "expire_nodest_conn=1", []string{"-A" + tcp + "-s rr -p 300", server + "1", server + "2"},
			[]string{"syn 1", "-d" + tcp + "-r 10.9.1.2", server + "2", "syn 2", "syn 1:4001"}, "221"},
		{"a template ends with a connection of the same time", "", []string{"-A" + tcp + "-s rr -p 60", server + "1", server + "2"},
			[]string{"syn 1", "61 s", "syn 1"}, "21"},
		{"but waits for one that outlives it", "", []string{"-A" + tcp + "-s rr -p 60", server + "1", server + "2"},
			[]string{"syn 1", "1 s", "syn 1", "61 s", "syn 1:4001", "200 s", "syn 1:4002"}, "2221"},
		{"and is long gone when time has passed", "", []string{"-A" + udp + "-s rr -p 30", "-a" + udp + "-r 10.9.1.1 -g", "-a" + udp + "-r 10.9.1.2 -g"},
			[]string{"udp 1", "331 s", "udp 1"}, "21"},
		{"one-packet scheduling minds thresholds that connections have reached", "", []string{"-A" + udp + "-s rr", "-a" + udp + "-r 10.9.1.1 -g -x 1"},
			[]string{"udp 1", "-e" + udp + "-r 10.9.1.1 -g -x 2 -y 1", "-E" + udp + "-s rr -o", "udp 2", "udp 3"}, "11-"},
		{"and reaches NAT's servers", "", []string{"-A" + udp + "-s rr -o", "-a" + udp + "-r 10.9.1.1 -m", "-a" + udp + "-r 10.9.1.2:5353 -m"},
			[]string{"udp 1", "udp 1"}, "21"},
		{"a scheduler that takes over begins at the top", "", []string{"-A" + tcp + "-s rr", server + "1 -w 1", server + "2 -w 3"},
			[]string{"-E" + tcp + "-s wrr", "syn 1", "syn 2", "syn 3", "syn 4"}, "2221"},
		{"lblcr knows a server again that comes back", "", []string{"-A" + tcp + "-s lblcr", server + "1 -w 4"},
			[]string{"syn 1", "-d" + tcp + "-r 10.9.1.1", server + "2 -w 4", "syn 2", "syn 3", server + "1 -w 4", "syn 4"}, "1221"},
		{"timeouts are those of the next packet, and 0 leaves one", "", []string{"-A" + udp + "-s rr", "-a" + udp + "-r 10.9.1.1 -g", "-a" + udp + "-r 10.9.1.2 -g", "--set 0 0 20"},
			[]string{"udp 1", "19 s", "--set 100 0 0", "udp 1", "19 s", "--set 0 0 30", "udp 1", "29 s", "udp 1", "31 s", "udp 1"}, "22221"},
		{"a network is one client", "", []string{"-A" + tcp + "-s rr -p 60 -M 255.255.255.128", server + "1", server + "2"},
			[]string{"syn 1", "syn 2", "syn 127", "syn 128", "syn 255"}, "22211"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sc := simulate.Scenario{Name: c.name, Setup: c.setup}
			if c.sysctl != "" {
				sc.Sysctl = []string{"net.ipv4.vs." + c.sysctl}
			}
			for _, e := range c.events {
				sc.Events = append(sc.Events, event(t, e))
			}
			played, err := simulate.Play(&sc, simulate.World{})
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, p := range played {
				if p.Src != "" {
					got.WriteString(receiverOf(p))
				}
			}
			if got.String() != c.want {
				t.Errorf("went to %s, want %s", got.String(), c.want)
			}
		})
	}
}

func event(t *testing.T, text string) simulate.Event {
	first, args, _ := strings.Cut(text, " ")
	var seconds float64
	if n, _ := fmt.Sscanf(text, "%g s", &seconds); n == 1 {
		return simulate.Event{Type: "sleep", Seconds: seconds}
	}
	if strings.HasPrefix(first, "-") {
		return simulate.Event{Type: "cmd", Command: text}
	}
	host, port, ok := strings.Cut(args, ":")
	if !ok {
		port = "4000"
	}
	e := simulate.Event{Type: first, Src: "192.0.2." + host + ":" + port, Dst: "10.0.0.100:80"}
	if first == "udp" {
		e.Dst = "10.0.0.100:53"
	}
	return e
}

// receiverOf reads from the MAC address of the one frame sent where a packet went.
func receiverOf(p simulate.Played) string {
	switch {
	case p.Error != "":
		return "!"
	case len(p.Frames) == 0:
		return "."
	case p.Frames[0].Dst[5] == 0xfe:
		return "-"
	}
	return fmt.Sprint(p.Frames[0].Dst[5])
}

// A client may have one port open to two VIPs of one server: most likely after it
// closed the first connection.
func TestRepliesThatTwoConnectionsMayHaveAreOfTheNewest(t *testing.T) {
	const (
		client        = "192.0.2.1:4000"
		first, second = "10.0.0.100:80", "10.0.0.101:80"
	)
	from := func(kind, vip string) simulate.Event {
		return simulate.Event{Type: kind, Src: "10.9.1.1:80", Dst: client, Key: client + " " + vip}
	}
	sc := simulate.Scenario{
		Setup: []string{"-A -t " + first, "-a -t " + first + " -r 10.9.1.1 -m", "-A -t " + second, "-a -t " + second + " -r 10.9.1.1 -m"},
		Events: []simulate.Event{
			{Type: "syn", Src: client, Dst: first},
			from("fin", first),
			{Type: "syn", Src: client, Dst: second},
			from("ack", second),
			from("rst", second),
			{Type: "sleep", Seconds: 11}, // the second is gone
			from("rst", first),
		},
	}
	played, err := simulate.Play(&sc, simulate.World{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range played {
		got = append(got, p.State)
	}
	if want := []string{"SYN_RECV", "TIME_WAIT", "SYN_RECV", "ESTABLISHED", "CLOSE", "", "TIME_WAIT"}; !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
}
