package ipvsadm

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/golb/golb/lb"
)

var (
	vip    = netip.MustParseAddr("192.0.2.1")
	vip6   = netip.MustParseAddr("2001:db8::1")
	real1  = netip.MustParseAddr("10.0.0.1")
	mask32 = netip.MustParseAddr("255.255.255.255")
	whole6 = netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
)

func TestLinesMeanWhatTheySay(t *testing.T) {
	tcp80 := Service{Protocol: lb.TCP, Address: vip, Port: 80}
	web := tcp80
	web.Scheduler, web.Mask = "wlc", mask32
	tests := []struct {
		line string
		want Command
	}{
		{"", Command{}},
		{"ipvsadm", Command{}},
		{"-A -t 192.0.2.1:80", Command{Op: AddService, Service: web}},
		{"ipvsadm --add-service --tcp-service=192.0.2.1:80", Command{Op: AddService, Service: web}},
		{"-At192.0.2.1:80", Command{Op: AddService, Service: web}},
		{"-E -t 192.0.2.1:80", Command{Op: EditService, Service: web}},
		{"-A -u [2001:db8::1]:53 -s sh -b sh-port,flag-3 -p -M 64 -o --pe sip", Command{Op: AddService, Service: Service{
			Protocol: lb.UDP, Address: vip6, Port: 53, IPv6: true, Scheduler: "sh", Flags: Flag2 | Flag3,
			Persistence: 6 * time.Minute, Mask: netip.MustParseAddr("ffff:ffff:ffff:ffff::"), OnePacket: true, Engine: "sip"}}},
		{"-A -f 7 -6 -s rr -p 60", Command{Op: AddService, Service: Service{Mark: 7, IPv6: true, Scheduler: "rr", Persistence: time.Minute, Mask: whole6}}},
		{"-A --sctp-service 192.0.2.1 -p -M 255.0.255.0", Command{Op: AddService, Service: Service{
			Protocol: lb.SCTP, Address: vip, Scheduler: "wlc", Persistence: 6 * time.Minute, Mask: netip.MustParseAddr("255.0.255.0")}}},
		{"-D -t 192.0.2.1:80", Command{Op: DeleteService, Service: tcp80}},
		{"-C", Command{Op: Clear}},
		{"-a -t 192.0.2.1:80 -r 10.0.0.1", Command{Op: AddServer, Service: tcp80, Server: Server{Address: real1, Port: 80, Method: lb.DSR, Weight: 1}}},
		{"-a -t 192.0.2.1:80 -r 10.0.0.1:8080 -mw3", Command{Op: AddServer, Service: tcp80, Server: Server{Address: real1, Port: 8080, Method: lb.NAT, Weight: 3}}},
		{"-e -t 192.0.2.1:80 -r 10.0.0.1:8080 -g -x 9 -y 5 -w 0", Command{Op: EditServer, Service: tcp80, Server: Server{Address: real1, Port: 80, Method: lb.DSR, UpperThreshold: 9, LowerThreshold: 5}}},
		{"-a -t 192.0.2.1:80 -r 10.0.0.1 -i --tun-type gue --tun-port 6080 --tun-remcsum", Command{Op: AddServer, Service: tcp80, Server: Server{
			Address: real1, Port: 80, Method: lb.TUN, Weight: 1, Tunnel: Tunnel{Type: lb.GUE, Port: 6080, Checksum: RemoteChecksum}}}},
		{"-a -t 192.0.2.1:80 -r 2001:db8::1 -i --tun-type gre --tun-csum", Command{Op: AddServer, Service: tcp80, Server: Server{
			Address: vip6, Port: 80, Method: lb.TUN, Weight: 1, Tunnel: Tunnel{Type: lb.GRE, Checksum: FullChecksum}}}},
		{"-d -t 192.0.2.1:80 -r 10.0.0.1:8080", Command{Op: DeleteServer, Service: tcp80, Server: Server{Address: real1, Port: 8080}}},
		{"-Ln --stats --exact -t 192.0.2.1:80", Command{Op: List, Service: tcp80, Numeric: true, List: Listing{Stats: true, Exact: true}}},
		{"-lcX --persistent-conn --nosort --sort --tun-info", Command{Op: List, List: Listing{Connections: true, Exact: true, PersistentConn: true, Unsorted: true, TunnelInfo: true}}},
		{"-L --rate --thresholds", Command{Op: List, List: Listing{Rate: true, Thresholds: true}}},
		{"-Z -t 192.0.2.1:80", Command{Op: Zero, Service: tcp80}},
		{"-S -n", Command{Op: Save, Numeric: true}},
		{"--set 900 0 300", Command{Op: SetTimeouts, Timeouts: [3]time.Duration{15 * time.Minute, 0, 5 * time.Minute}}},
		{"--start-daemon backup --syncid 3", Command{Op: StartDaemon, Daemon: Daemon{Backup: true, Interface: "eth0", SyncID: 3}}},
		{"--start-daemon master --mcast-interface eth1 --mcast-group ff02::5 --mcast-port 1 --mcast-ttl 2 --sync-maxlen 3",
			Command{Op: StartDaemon, Daemon: Daemon{Interface: "eth1", Group: netip.MustParseAddr("ff02::5"), Port: 1, TTL: 2, MaxLength: 3}}},
		{"--stop-daemon master", Command{Op: StopDaemon}},
		{"-h whatever", Command{Op: Help}},
		{"-v", Command{Op: Version}},
	}
	for _, tt := range tests {
		got, err := recorder.ParseLine(tt.line)
		if err != nil {
			t.Errorf("%q: %v", tt.line, err)
			continue
		}
		tt.want.HasService = tt.want.Service != Service{}
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%q:\n%s", tt.line, diff)
		}
	}
}

func TestNoArgumentsListWithNames(t *testing.T) {
	got, err := Parse(nil)
	if err != nil || !reflect.DeepEqual(got, Command{Op: List}) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// What ipvsadm takes for something else than what it says.
func TestDifferencesFromIpvsadm(t *testing.T) {
	for _, address := range []string{"[192.0.2.1]:80", "[localhost]:80", "192.0.2.1 x:80", "192.0.2.1 :80"} {
		if got, err := recorder.Parse([]string{"-D", "-t", address}); err == nil {
			t.Errorf("%s: got %s port %d", address, got.Service.Address, got.Service.Port)
		}
	}
}

func TestRestoreRefusesRestore(t *testing.T) {
	if _, err := ParseLine("-R"); err == nil {
		t.Error("-R within -R was taken")
	}
	if got, err := Parse([]string{"-R"}); err != nil || got.Op != Restore {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestSystemLookups(t *testing.T) {
	got, err := Parse(strings.Fields("-a -t 192.0.2.1:80 -r localhost:http -m"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Server{Address: netip.MustParseAddr("127.0.0.1"), Port: 80, Method: lb.NAT, Weight: 1}); got.Server != want {
		t.Errorf("got %+v, want %+v", got.Server, want)
	}
}

func TestPrefixOfMask(t *testing.T) {
	for mask, want := range map[string]int{
		"255.255.255.255": 32, "255.255.254.0": 23, "0.0.0.0": 0, "ffff:8000::": 17, "::": 0,
		"255.0.255.0": -1, "0.0.0.24": -1, "": -1,
	} {
		var s Service
		if mask != "" {
			s.Mask = netip.MustParseAddr(mask)
		}
		if bits, ok := s.Prefix(); bits != max(want, 0) || ok != (want >= 0) {
			t.Errorf("%s: got %d, %v", mask, bits, ok)
		}
	}
}

func TestFlagNames(t *testing.T) {
	if got := (Flag1 | Flag2 | Flag3).Names(); !reflect.DeepEqual(got, []string{"fallback", "port", "flag-3"}) {
		t.Error(got)
	}
	if got := Flags(0).Names(); got != nil {
		t.Error(got)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add("-A -t [2001:db8::1]:80 -s mh -b mh-port,flag-1 -p300 -M 64")
	f.Add("-a -f 4294967295 -6 -r fd00::1 -i --tun-type=gue --tun-port=1 --tun-csum -mw=")
	f.Add("-Ln -c --timeout --stats -- -x")
	f.Add("--set 1 2 3 -po -=")
	f.Add("--start-daemon master --mcast-group ff02::1%eth0 --syncid +-5")
	f.Add("ipvsadm -e -u 1.2.3:0x5 -r 0x -g -w 0008")
	f.Fuzz(func(t *testing.T, line string) {
		cmd, err := recorder.ParseLine(line)
		if err != nil {
			var fault *Error
			if !errors.As(err, &fault) || fault.Message == "" || fault.Exit != 2 && fault.Exit != 255 {
				t.Fatalf("%q: %#v", line, err)
			}
			return
		}
		s, r := &cmd.Service, &cmd.Server
		if cmd.HasService && s.Mark == 0 && (s.Address.Is6() != s.IPv6 || !s.Address.IsValid()) {
			t.Errorf("%q: address %s", line, s.Address)
		}
		switch cmd.Op {
		case AddService, EditService:
			if s.Mask.Is6() != s.IPv6 || s.Port == 0 && s.Mark == 0 && s.Persistence == 0 || s.Scheduler == "" {
				t.Errorf("%q: %+v", line, *s)
			}
		case AddServer, EditServer:
			if !r.Address.IsValid() || r.Weight < 0 || r.Method == 0 || r.Method != lb.NAT && s.Mark == 0 && r.Port != s.Port {
				t.Errorf("%q: %+v", line, *r)
			}
		}
	})
}
