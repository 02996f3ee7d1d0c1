package vrrp

import (
	"testing"
	"time"
)

// TestOwnerGivesInToAStubbornOne: the rule of equal priorities has the other owner give
// in. One that does not knows no such rule.
func TestOwnerGivesInToAStubbornOne(t *testing.T) {
	c := config4(9, 255)
	c.StartMaster = true
	n := newNetwork()
	x := n.add(c).start(t)
	other := advertBytes(config4(2, 255), 255)
	begin := n.now
	for x.master() && n.now.Sub(begin) < time.Minute {
		x.in().Receive(n.now, other)
		n.run(500 * time.Millisecond)
	}
	// Two adverts, the second of them a second after the first, and 1.2 s.
	if took := n.now.Sub(begin); took < 2*time.Second || took > 3*time.Second {
		t.Errorf("gave in after %v", took)
	}
	if s := x.in().Status(); s.Priority != 254 || x.reported(EventTwoOwners) != 1 || x.reported(EventOwnerLowered) != 1 {
		t.Errorf("%+v, %v", s, x.events)
	}

	c.Keepalived.FirstOwnerYields = true
	y := newNetwork().add(c).start(t)
	y.in().Receive(y.net.now, other)
	if y.master() || y.in().Status().Priority != 254 {
		t.Errorf("as keepalived 2.2: %+v", y.in().Status())
	}
}

// TestOwnerWaitsAnewForAnOwnerThatComesBack: it may have given in, and started again.
func TestOwnerWaitsAnewForAnOwnerThatComesBack(t *testing.T) {
	c := config4(9, 255)
	c.StartMaster = true
	x := newNetwork().add(c).start(t)
	for range 5 {
		x.in().Receive(x.net.now, advertBytes(config4(2, 255), 255))
		x.net.run(5 * time.Second)
	}
	if !x.master() || x.in().Status().Priority != 255 {
		t.Errorf("%+v", x.in().Status())
	}
}

func TestOwnerMayIgnoreAdverts(t *testing.T) {
	c := config4(1, 255)
	c.StartMaster, c.OwnerIgnoresAdverts = true, true
	x := newNetwork().add(c).start(t)
	if got := x.in().Receive(x.net.now, advertBytes(config4(9, 255), 255)); got != ReasonOwner || !x.master() {
		t.Errorf("%q, %s", got, x.in().State())
	}
}
