package load

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/forward/afpacket"
	"golang.org/x/sync/errgroup"
)

// ReflectConfig says what a reflector does.
type ReflectConfig struct {
	In, Out string // interfaces, which may be one
	VIP     netip.Addr
	To      forward.MAC // the server's
	Workers int
}

// Reflect sends all that comes for the VIP on to one server, by golb's ports, and does nothing to it but give it other MAC
// addresses: what is left of a balancer that does nothing else. It calls ready when it receives, and runs until ctx ends.
func Reflect(ctx context.Context, cfg ReflectConfig, ready func()) error {
	filter := forward.Filter{VIPs: []netip.Prefix{netip.PrefixFrom(cfg.VIP, cfg.VIP.BitLen())}}
	in, err := afpacket.OpenGroup(afpacket.Config{Interface: cfg.In, Filter: filter}, cfg.Workers)
	if err != nil {
		return err
	}
	out := in
	if cfg.Out != cfg.In {
		if out, err = afpacket.OpenGroup(afpacket.Config{Interface: cfg.Out, SendOnly: true}, cfg.Workers); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() {
		for _, p := range in {
			p.Close()
		}
	})
	defer stop()
	ready()
	var g errgroup.Group
	for i := range in {
		g.Go(func() error { return reflect(in[i], out[i], cfg.To) })
	}
	return g.Wait()
}

func reflect(in, out *afpacket.Port, to forward.MAC) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	frames, from := make([]forward.Frame, 64), out.MAC()
	for {
		n, err := in.Recv(frames)
		if err == nil {
			for i := range frames[:n] {
				forward.SetMACs(&frames[i], to, from)
			}
			_, err = out.Send(frames[:n])
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
