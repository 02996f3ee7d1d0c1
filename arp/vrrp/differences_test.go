package vrrp

import "time"

// difference is where an instance does not do what keepalived did, and why.
type difference struct {
	mode            string // "" for both
	recording, node string
	from            time.Duration // nothing is compared from here on
	extra           bool          // we send one more advert then, and all else is the same
	slow            time.Duration // keepalived's process took longer than the tolerance
	reason          string
}

func knownDifference(mode, recording, node string) (difference, bool) {
	for _, d := range differences {
		if (d.mode == mode || d.mode == "") && d.recording == recording && d.node == node {
			return d, true
		}
	}
	return difference{}, false
}

const (
	lastAdvert = "a master that hears one of higher priority sends a last advert, so that the winner announces the addresses"
	dropped    = "adverts that are dropped do not put off our own"
	otherAddrs = "adverts with other addresses are taken, so there is one master"
)

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

var differences = []difference{
	// What was slow where the recordings were made.
	{recording: "use-vmac-v3-ipv6", node: "a", slow: ms(25), reason: "10 announcements took 20 ms"},
	{recording: "takeover-on-link-down", node: "a", slow: ms(25), reason: "adding the address took 22 ms, the next advert counts from then"},

	// What we do not do even with the settings that have keepalived's way.
	{recording: "gna-tuned", node: "a", from: ms(3800), reason: "2.2 loses announcements that have an interval; we send all, as 2.4 does"},
	{recording: "reload-priority-change", node: "a", from: ms(8050), reason: "2.2 sends the old priority once more when it reloads, and counts IP IDs anew"},
	{mode: asKeepalived, recording: "new-sigstop-5s", node: "a", slow: ms(25), from: ms(19000),
		reason: "announcements that are due after each of three adverts of lower priority are made once"},

	// The safe ways.
	{mode: byDefaults, recording: "preempt", node: "b", from: ms(9480), extra: true, reason: lastAdvert},
	{mode: byDefaults, recording: "takeover-on-link-down", node: "b", from: ms(18458), extra: true, reason: lastAdvert},
	{mode: byDefaults, recording: "track-script-fault", node: "b", from: ms(21449), extra: true, reason: lastAdvert},
	{mode: byDefaults, recording: "split-brain-heals", node: "b", from: ms(15554), extra: true, reason: lastAdvert},
	{mode: byDefaults, recording: "split-brain-heals-lower-first", node: "b", from: ms(16101), extra: true, reason: lastAdvert},
	{mode: byDefaults, recording: "split-brain-heals-equal-priority", node: "a", from: ms(15244), extra: true, reason: lastAdvert},
	{mode: byDefaults, recording: "split-brain-heals-v3-ipv6", node: "b", from: ms(15528), extra: true, reason: lastAdvert},
	{mode: byDefaults, recording: "new-sigstop-5s", node: "b", from: ms(14014), extra: true, reason: lastAdvert},
	{mode: byDefaults, recording: "two-owners", node: "a", from: ms(3206), extra: true, reason: lastAdvert},
	{mode: byDefaults, recording: "new-two-owners", node: "a", from: ms(3029), extra: true, reason: lastAdvert},
	{mode: byDefaults, recording: "auth-type-differs", node: "a", from: ms(9400), reason: dropped},
	{mode: byDefaults, recording: "auth-type-differs", node: "b", from: ms(13600), reason: dropped},
	{mode: byDefaults, recording: "new-hmac-one-side-only", node: "a", from: ms(9400), reason: dropped},
	{mode: byDefaults, recording: "new-hmac-one-side-only", node: "b", from: ms(9600), reason: dropped},
	{mode: byDefaults, recording: "new-checksum-kinds-differ", node: "b", from: ms(8600),
		reason: "a checksum of another kind is taken, so there is one master, and answered in kind"},
	{mode: byDefaults, recording: "vip-counts-differ", node: "a", from: ms(8600), reason: otherAddrs},
	{mode: byDefaults, recording: "vip-counts-differ", node: "b", from: ms(8600), reason: otherAddrs},
	{mode: byDefaults, recording: "vip-lists-differ", node: "a", from: ms(8600), reason: otherAddrs},
	{mode: byDefaults, recording: "vip-lists-differ", node: "b", from: ms(8600), reason: otherAddrs},
	{mode: byDefaults, recording: "new-sigstop-5s", node: "a", from: ms(14010),
		reason: "after 6 s without an advert of ours another may be master: we step back, and preempt it by the rules"},
	{mode: byDefaults, recording: "reload-priority-change", node: "b", from: ms(8600),
		reason: "a backup takes over after its skew time when its master's priority falls below its own"},
}
