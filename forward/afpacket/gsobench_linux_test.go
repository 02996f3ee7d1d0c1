package afpacket

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/golb/golb/forward"
)

// BenchmarkSendMerged sends batches of 64 packets of one flow, as they are and merged,
// over a veth that passes super-packets on, and over one for which the kernel segments them
// in software. One thread also does the work of the veth and of the other end, which drops
// the frames. ns/packet is for the packets before merging; frames/batch is how many frames
// the kernel gets.
func BenchmarkSendMerged(b *testing.B) {
	for _, device := range []string{"segmenting", "plain"} {
		for _, x := range []burst{
			{name: "tcp4 1448", sizes: slices.Repeat([]int{1448}, 64)},
			{name: "tcp6 1428", v6: true, sizes: slices.Repeat([]int{1428}, 64)},
			{name: "udp4 1200", udp: true, sizes: slices.Repeat([]int{1200}, 64)},
			{name: "udp4 64", udp: true, sizes: slices.Repeat([]int{22}, 64)},
		} {
			for _, merge := range []bool{false, true} {
				name := device + "/" + x.name + "/single"
				if merge {
					name = device + "/" + x.name + "/merged"
				}
				b.Run(name, func(b *testing.B) {
					ha, hb := newLink(b)
					if device == "plain" {
						must(b, ha.SetFeatures("eth0", false, "tx-checksum-ip-generic", "tx-generic-segmentation",
							"tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation"))
					}
					p := openPort(b, ha, Config{Interface: "eth0"})
					to := openPort(b, hb, Config{Interface: "eth0"}).MAC()
					sendBatches(b, p, x.frames(b, to, 9), merge)
				})
			}
		}
	}
}

func sendBatches(b *testing.B, p *Port, list [][]byte, merge bool) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var frames []forward.Frame
	for _, packet := range list {
		buf := append(make([]byte, 0, bufLen), packet...)[:bufLen]
		frames = append(frames, forward.Frame{Buf: buf, Tail: len(packet)})
	}
	batch := make([]forward.Frame, len(frames))
	var m forward.Merger
	sent := 0
	b.ReportAllocs()
	for b.Loop() {
		copy(batch, frames)
		for i := range frames { // merging changes headers; copied in both cases, so that they cost the same
			copy(frames[i].Bytes(), list[i][:min(96, len(list[i]))])
		}
		out := batch
		if merge {
			out = m.Merge(batch, true)
		}
		n, err := p.Send(out)
		must(b, err)
		sent += n
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(list)), "ns/packet")
	b.ReportMetric(float64(sent)/float64(b.N), "frames/batch")
}

// BenchmarkBulkOfPlainPackets measures a TCP connection through two ports whose sender does
// not make super-packets. The ports forward its packets one by one, or merged. ns/op and
// cpu-ns/op, the time of all processors, are for 64 KiB; packets/frame is how many packets
// are merged into a frame.
func BenchmarkBulkOfPlainPackets(b *testing.B) {
	for _, name := range []string{"single", "merged"} {
		b.Run(name, func(b *testing.B) {
			w := newWire(b, 0)
			must(b, w.client.SetFeatures("eth0", false, "tx-tcp-segmentation", "tx-tcp6-segmentation"))
			left, right := w.bridgeMerging(b, name == "merged")
			sendBulk(b, w.client, w.server)
			b.ReportMetric(float64(left.Stats().Received)/float64(right.Stats().Sent), "packets/frame")
		})
	}
}

// bridgeMerging is bridge, but merges frames if merge is true.
func (w *wire) bridgeMerging(b *testing.B, merge bool) (left, right *Port) {
	left = openPort(b, w.middle, Config{Interface: "eth0"})
	right = openPort(b, w.middle, Config{Interface: "eth1"})
	passAll(b, left, right)
	var carriers sync.WaitGroup
	one := func(from, to *Port) {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		frames := make([]forward.Frame, 64)
		var m forward.Merger
		for {
			n, err := from.Recv(frames)
			if err != nil {
				return
			}
			out := frames[:n]
			if merge {
				out = m.Merge(out, true)
			}
			if _, err := to.Send(out); err != nil {
				return
			}
		}
	}
	carriers.Go(func() { one(left, right) })
	carriers.Go(func() { one(right, left) })
	b.Cleanup(func() {
		left.Close()
		right.Close()
		carriers.Wait()
	})
	return left, right
}
