package arp

// Stats are counters since Open, and the three last, which say what is there now.
type Stats struct {
	// Well-formed messages received, also those that are not for a VIP.
	RequestsReceived       uint64 `json:"requests_received"` // ARP, with probes and announcements
	RepliesReceived        uint64 `json:"replies_received"`  // ARP
	SolicitationsReceived  uint64 `json:"solicitations_received"`
	AdvertisementsReceived uint64 `json:"advertisements_received"`
	// Malformed are frames that break a rule of their protocol. They are dropped.
	Malformed uint64 `json:"malformed"`
	// ReceiveDropped are frames for which the sockets had no room.
	ReceiveDropped uint64 `json:"receive_dropped"`

	// Requests and solicitations for a VIP that were answered.
	RequestsAnswered      uint64 `json:"requests_answered"`
	SolicitationsAnswered uint64 `json:"solicitations_answered"`

	// Messages sent unasked. An announcement or defense by ARP is two frames.
	RequestsSent      uint64 `json:"requests_sent"`      // for neighbors
	ProbesSent        uint64 `json:"probes_sent"`        // for addresses given to Probe
	AnnouncementsSent uint64 `json:"announcements_sent"` // of VIPs
	VerificationsSent uint64 `json:"verifications_sent"` // for the link's own VIPs, to find conflicts
	DefensesSent      uint64 `json:"defenses_sent"`      // announcements after a conflict
	// RequestsPostponed are those that would have exceeded the rate; they are asked later.
	RequestsPostponed uint64 `json:"requests_postponed"`

	// SendErrors are frames that the interface refused. They are in the counts above.
	SendErrors uint64 `json:"send_errors"`
	// SendDropped are messages not sent because the link was down, or too many waited.
	SendDropped uint64 `json:"send_dropped"`

	// Conflicts are messages of other hosts that claim a VIP.
	Conflicts uint64 `json:"conflicts"`
	// NeighborClaims are messages that claim a neighbor's address for another MAC,
	// NeighborConflicts the times that the neighbor answered at its old MAC after one.
	NeighborClaims    uint64 `json:"neighbor_claims"`
	NeighborConflicts uint64 `json:"neighbor_conflicts"`
	NeighborsLearned  uint64 `json:"neighbors_learned"` // MACs found where none was known
	NeighborsMoved    uint64 `json:"neighbors_moved"`   // MACs replaced by another one
	NeighborsLost     uint64 `json:"neighbors_lost"`    // MACs that no longer answered

	VIPs      int `json:"vips"`      // addresses answered for
	Neighbors int `json:"neighbors"` // addresses being resolved
	Known     int `json:"known"`     // of these, with a known MAC
}

// Stats returns the counters. It does not wait for the network.
func (l *Link) Stats() Stats {
	dropped := l.wire.Dropped()
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.m.stats
	s.ReceiveDropped = dropped
	s.VIPs, s.Neighbors, s.Known = len(l.m.vips), len(l.m.neighbors), l.m.known
	return s
}

// countReceived counts a message by its kind.
func (m *machine) countReceived(msg *message) {
	switch msg.kind {
	case arpRequest:
		m.stats.RequestsReceived++
	case arpReply:
		m.stats.RepliesReceived++
	case solicitation:
		m.stats.SolicitationsReceived++
	case advertisement:
		m.stats.AdvertisementsReceived++
	}
}
