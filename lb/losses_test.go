package lb_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golb/golb/forward"
	"github.com/golb/golb/lb"
)

// lossyPort is a port that says that it loses frames.
type lossyPort struct {
	lb.Port
	dropped *atomic.Uint64
}

func (p *lossyPort) Stats() forward.PortStats {
	s := p.Port.Stats()
	s.ReceiveDropped = p.dropped.Load()
	return s
}

// syncBuffer is a log that is read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// take empties the log and returns its lines that have the text.
func (b *syncBuffer) take(text string) (lines []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.buf.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	b.buf.Reset()
	return lines
}

func TestLossesThatGoOnAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dropped atomic.Uint64
		log := &syncBuffer{}
		web := asking(vip4, 1)
		web.Check = lb.Check{Type: "none"}
		b := startIn(t, lb.Config{Services: []lb.Service{web}}, func(lb.Event) {}, func(env *lb.Env) {
			env.Logger = slog.New(slog.NewTextHandler(log, nil))
			open := env.OpenPorts
			env.OpenPorts = func(c lb.PortConfig) ([]lb.Port, error) {
				ports, err := open(c)
				for i := range ports {
					ports[i] = &lossyPort{ports[i], &dropped}
				}
				return ports, err
			}
		})
		time.Sleep(3*time.Minute + 500*time.Millisecond)
		if lines := log.take("lost"); len(lines) != 0 {
			t.Errorf("nothing was lost, logged %q", lines)
		}
		for range 2 * 60 { // two minutes
			dropped.Add(3)
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		lines := log.take("frames were lost in the last minute")
		if len(lines) != 2 || !strings.Contains(lines[1], "wire0.receive_dropped=180") {
			t.Errorf("logged %q", lines)
		}
		time.Sleep(5 * time.Minute)
		if lines := log.take("lost"); len(lines) != 0 {
			t.Errorf("nothing more was lost, logged %q", lines)
		}
		st := b.balancer.Stats()
		if got := st.Interfaces[0].Losses(); got["receive_dropped"] != 360 || st.TableSize != tableSize {
			t.Errorf("losses %v, table size %d", got, st.TableSize)
		}
	})
}
