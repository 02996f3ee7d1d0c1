package demo

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"
)

func TestPatternReadsTheSameWhateverTheReads(t *testing.T) {
	for _, size := range []int64{0, 1, 4096, 32 << 10, 32<<10 + 1, 100_000} {
		want, err := io.ReadAll(newPattern(size))
		if err != nil || int64(len(want)) != size {
			t.Fatalf("size %d: read %d bytes, error %v", size, len(want), err)
		}
		parts, err := io.ReadAll(iotest.HalfReader(newPattern(size)))
		if err != nil || !bytes.Equal(want, parts) {
			t.Errorf("size %d: short reads give other bytes, error %v", size, err)
		}
	}
}

func TestPatternBlocksDiffer(t *testing.T) {
	b, err := io.ReadAll(newPattern(64 << 10))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(b[:32<<10], b[32<<10:]) {
		t.Error("two blocks are alike: a lost one would not be noticed")
	}
}
