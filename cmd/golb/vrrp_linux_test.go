package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/net/ipv4"

	"github.com/golb/golb/arp/vrrp"
)

// TestVRRPWatchSeesTheWire: an advert that the host itself sends, by its kernel.
func TestVRRPWatchSeesTheWire(t *testing.T) {
	host := labHost(t)
	ctx, cancel := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		var code int
		err := host.Do(func() error {
			code = execute(ctx, []string{"vrrp", "watch", "--interface", "eth0", "--json"}, stdout, os.Stderr)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		stdout.Close()
		ended <- code
	}()
	seen := make(chan []byte, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadBytes('\n')
		seen <- line
		io.Copy(io.Discard, out)
	}()

	send := advertSender(t, host.Do)
	var line []byte
	for range 500 { // until the socket is open
		send()
		select {
		case line = <-seen:
		case <-time.After(20 * time.Millisecond):
			continue
		}
		break
	}
	cancel()
	if code := <-ended; code != exitOK {
		t.Errorf("exit code %d", code)
	}
	var got advertJSON
	if err := json.Unmarshal(line, &got); err != nil || !got.Valid || got.VRID != 7 || got.Src != netip.MustParseAddr("192.0.2.1") {
		t.Errorf("%v: %s", err, line)
	}
}

// advertSender returns what sends an advert of VRRP 2 from a host.
func advertSender(t *testing.T, do func(func() error) error) func() {
	a := vrrp.Advert{
		Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("224.0.0.18"),
		Version: 2, Type: 1, VRID: 7, Priority: 100, Interval: time.Second,
	}
	message := a.Append(nil)[20:]
	var c *ipv4.PacketConn
	err := do(func() error {
		ifi, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		raw, err := net.ListenPacket("ip4:112", "192.0.2.1")
		if err != nil {
			return err
		}
		c = ipv4.NewPacketConn(raw)
		if err := c.SetMulticastInterface(ifi); err != nil {
			return err
		}
		return c.SetMulticastTTL(255)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return func() {
		if _, err := c.WriteTo(message, nil, &net.IPAddr{IP: a.Dst.AsSlice()}); err != nil {
			t.Fatal(err)
		}
	}
}
