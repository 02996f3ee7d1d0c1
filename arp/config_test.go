package arp

import (
	"strings"
	"testing"
	"time"
)

func TestConfigNamesEveryMistake(t *testing.T) {
	_, err := Open(Config{
		MAC: [6]byte{1, 0, 0x5e, 0, 0, 1}, Retry: -time.Second, Refresh: -1,
	})
	if err == nil {
		t.Fatal("taken")
	}
	for _, want := range []string{"arp: ", "interface", "MAC 01:00:5e:00:00:01", "Retry -1s", "Refresh"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

func TestOpenNamesTheInterface(t *testing.T) {
	_, err := Open(Config{Interface: "nosuch0"})
	if err == nil || !strings.Contains(err.Error(), "arp: nosuch0: ") {
		t.Errorf("got %v", err)
	}
}
