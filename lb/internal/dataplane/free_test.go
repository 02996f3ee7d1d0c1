package dataplane

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// TestEveryNumberIsHandedOutOnce fills a table to the last entry by its shards in
// turn, by one of them alone, and by all at once, and empties it again.
func TestEveryNumberIsHandedOutOnce(t *testing.T) {
	const size = 1000 // no multiple of what shards take at a time
	for name, shardsOf := range map[string]func(n int) int{
		"in turn": func(n int) int { return n % shardCount }, "one alone": func(int) int { return 7 },
	} {
		tab := newTable(size, 0, hashKey{}, 0)
		for range 3 {
			held := map[uint32]*shard{}
			for n := range size {
				sh := &tab.shards[shardsOf(n)]
				c := tab.allocLocked(sh)
				if c == 0 || held[c] != nil || int(c) > size {
					t.Fatalf("%s: number %d is %d; handed out already: %v", name, n, c, held[c] != nil)
				}
				held[c] = sh
			}
			if c := tab.allocLocked(&tab.shards[3]); c != 0 || tab.inUse() != size {
				t.Fatalf("%s: a full table of %d gave %d", name, tab.inUse(), c)
			}
			for c, sh := range held {
				tab.freeLocked(sh, c)
			}
			if n := tab.inUse(); n != 0 {
				t.Fatalf("%s: %d in use of none", name, n)
			}
		}
	}
}

func TestNumbersAreHandedOutOnceToManyWorkers(t *testing.T) {
	const size, workers = 500, 4
	tab := newTable(size, 0, hashKey{}, 0)
	owner := make([]int, size+1) // the race detector sees two that have one number
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 1))
			type held struct {
				sh *shard
				c  uint32
			}
			var mine []held
			for range 20_000 {
				sh := &tab.shards[rng.IntN(shardCount)]
				if len(mine) > 0 && rng.IntN(2) == 0 {
					h := mine[len(mine)-1]
					mine = mine[:len(mine)-1]
					owner[h.c] = 0
					h.sh.mu.Lock()
					tab.freeLocked(h.sh, h.c)
					h.sh.mu.Unlock()
					continue
				}
				sh.mu.Lock()
				c := tab.allocLocked(sh)
				sh.mu.Unlock()
				if c == 0 {
					continue
				}
				if owner[c] != 0 {
					t.Errorf("%d is worker %d's and %d's", c, owner[c]-1, w)
					return
				}
				owner[c] = w + 1
				mine = append(mine, held{sh, c})
			}
			for _, h := range mine {
				owner[h.c] = 0
				h.sh.mu.Lock()
				tab.freeLocked(h.sh, h.c)
				h.sh.mu.Unlock()
			}
		})
	}
	running.Wait()
	if n := tab.inUse(); n != 0 {
		t.Errorf("%d in use of none", n)
	}
}
