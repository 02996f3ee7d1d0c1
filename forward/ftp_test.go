package forward

import (
	"strings"
	"testing"
)

func TestParseFTPFindsTheDataConnection(t *testing.T) {
	tests := []struct {
		line string
		kind FTPKind
		addr string // "" where the line names none
		port uint16
		text string
	}{
		{"PORT 192,0,2,1,4,1\r\n", FTPPort, "192.0.2.1", 1025, "192,0,2,1,4,1"},
		{"port 192,0,2,1,255,255\n", FTPPort, "192.0.2.1", 65535, "192,0,2,1,255,255"},
		{"PORT  1,2,3,4,5,6 \r\n", FTPPort, "1.2.3.4", 5<<8 + 6, "1,2,3,4,5,6"},
		{"EPRT |1|132.235.1.2|6275|\r\n", FTPEprt, "132.235.1.2", 6275, "1|132.235.1.2|6275"},
		{"eprt |2|1080::8:800:200C:417A|5282|\r\n", FTPEprt, "1080::8:800:200c:417a", 5282, "2|1080::8:800:200C:417A|5282"},
		{"EPRT !1!192.0.2.1!99!\r\n", FTPEprt, "192.0.2.1", 99, "1!192.0.2.1!99"},
		{"227 Entering Passive Mode (10,0,0,1,200,10).\r\n", FTPPasv, "10.0.0.1", 200<<8 + 10, "10,0,0,1,200,10"},
		{"227 Entering Passive Mode. 195,92,21,5,21,5\r\n", FTPPasv, "195.92.21.5", 21<<8 + 5, "195,92,21,5,21,5"},
		{"227 =10,0,0,1,4,0\r\n", FTPPasv, "10.0.0.1", 1024, "10,0,0,1,4,0"},
		{"227 mode 2 of 3 (10,0,0,1,4,0)\r\n", FTPPasv, "10.0.0.1", 1024, "10,0,0,1,4,0"},
		{"229 Entering Extended Passive Mode (|||6446|)\r\n", FTPEpsv, "", 6446, "6446"},
		{"229 OK (!!!1!)\r\n", FTPEpsv, "", 1, "1"},
	}
	for _, tt := range tests {
		reply := tt.line[0] == '2'
		e, ok := ParseFTP([]byte(tt.line), reply)
		if !ok {
			t.Errorf("%q: nothing found", tt.line)
			continue
		}
		want := Addr{}
		if tt.addr != "" {
			want = addr(tt.addr)
		}
		if e.Kind != tt.kind || e.Addr != want || e.Port != tt.port || tt.line[e.At:e.At+e.Len] != tt.text {
			t.Errorf("%q: %+v, text %q", tt.line, e, tt.line[e.At:e.At+e.Len])
		}
		if _, ok := ParseFTP([]byte(tt.line), !reply); ok {
			t.Errorf("%q: found in the other direction", tt.line)
		}
		for cut := range len(tt.line) {
			if _, ok := ParseFTP([]byte(tt.line[:cut]), reply); ok {
				t.Errorf("%q: found in part of the line, %q", tt.line, tt.line[:cut])
			}
		}
	}
}

func TestParseFTPRefusesAllElse(t *testing.T) {
	for _, line := range []string{
		"\n", "PORT\r\n", "PORT \r\n", "PORT1,2,3,4,5,6\r\n", "PORT 1,2,3,4,5\r\n", "PORT 1,2,3,4,5,6,7\r\n",
		"PORT 256,2,3,4,5,6\r\n", "PORT 1,2,3,4,0,0\r\n", "PORT 1,2,3,4,5,6 x\r\n", "PORT 1,,3,4,5,6\r\n", "PORT a,2,3,4,5,6\r\n",
		"PORTS 1,2,3,4,5,6\r\n", " PORT 1,2,3,4,5,6\r\n", "PORT 1,2,3,4,5,000006\r\n",
		"EPRT |1|192.0.2.1|0|\r\n", "EPRT |1|192.0.2.1|65536|\r\n", "EPRT |2|192.0.2.1|99|\r\n", "EPRT |1|2001:db8::1|99|\r\n",
		"EPRT |3|192.0.2.1|99|\r\n", "EPRT |1|192.0.2.1|99\r\n", "EPRT 112345\r\n", "EPRT |2|fe80::1%eth0|99|\r\n", "EPRT |2|::ffff:192.0.2.1|99|\r\n",
		"EPRT |1|192.0.2.1|99|x\r\n", "EPRT |1|192.0.2.1||\r\n", "EPRT\r\n", "EPRT |\r\n",
		"227-Entering Passive Mode (1,2,3,4,5,6)\r\n", "226 x 227 (1,2,3,4,5,6)\r\n", "227 no numbers\r\n", "227 (1,2,3,4,0,0)\r\n",
		"229 Entering (||1|99|)\r\n", "229 Entering |||99|\r\n", "229 (|||99)\r\n", "229 (|||0|)\r\n", "229 (|||65536|)\r\n", "229 (111991)\r\n", "229 (|||\r\n", "229 (\r\n", "229 ()\r\n",
		"227 " + strings.Repeat("x", maxFTPLine) + "1,2,3,4,5,6\r\n",
	} {
		for _, reply := range []bool{true, false} {
			if e, ok := ParseFTP([]byte(line), reply); ok {
				t.Errorf("%q: %+v", line, e)
			}
		}
	}
}

func TestFTPAppendWritesWhatParseFTPReads(t *testing.T) {
	for line, want := range map[string]string{
		"PORT 1,2,3,4,5,6\r\n":                 "PORT 172,16,5,5,1,0\r\n",
		"227 (1,2,3,4,5,6)\r\n":                "227 (172,16,5,5,1,0)\r\n",
		"EPRT !1!1.2.3.4!5!\r\n":               "EPRT !1!172.16.5.5!256!\r\n",
		"229 Entering (|||65535|) at will\r\n": "229 Entering (|||256|) at will\r\n",
	} {
		e, ok := ParseFTP([]byte(line), line[0] == '2')
		if !ok {
			t.Fatalf("%q", line)
		}
		got := line[:e.At] + string(e.Append(nil, client4, 256)) + line[e.At+e.Len:]
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	e, _ := ParseFTP([]byte("EPRT |2|2001:db8::1|99|\r\n"), false)
	longest := addr("2001:1db8:1111:1111:1111:1111:1111:1111")
	if got := string(e.Append(nil, longest, 65535)); got != "2|"+longest.String()+"|65535" || len(got) > MaxEdit {
		t.Errorf("%q, %d bytes", got, len(got))
	}
}

func FuzzParseFTP(f *testing.F) {
	for _, s := range []string{
		"PORT 192,0,2,1,4,1\r\n", "EPRT |2|2001:db8::1|99|\r\n", "EPRT !1!192.0.2.1!99!\r\n",
		"227 Entering Passive Mode (10,0,0,1,200,10).\r\n", "229 Entering Extended Passive Mode (|||6446|)\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, reply := range []bool{true, false} {
			e, ok := ParseFTP(line, reply)
			if !ok {
				continue
			}
			if e.Port == 0 || e.At < 4 || e.Len < 1 || e.At+e.Len > len(line) || e.Len > 255 {
				t.Fatalf("%+v of %q", e, line)
			}
			text := e.Append(nil, e.Addr, e.Port)
			again := append(append(append([]byte{}, line[:e.At]...), text...), line[e.At+e.Len:]...)
			got, ok := ParseFTP(again, reply)
			if len(text) > MaxEdit || !ok && len(again) <= maxFTPLine || ok && (got.Kind != e.Kind || got.Addr != e.Addr || got.Port != e.Port) {
				t.Fatalf("%q came out as %q: %+v, want %+v", line, again, got, e)
			}
		}
	})
}
