package lb

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Why servers that are up get no new connections, for people.

// idleReason returns why a server that is up gets no new connections; "" where it does.
func (s *server) idleReason() string {
	switch {
	case !s.up:
		return ""
	case s.zeroReason() != "":
		return s.zeroReason()
	case s.dp.Overloaded():
		return fmt.Sprintf("%d connections, at its upper threshold", s.dp.Total())
	}
	return ""
}

// zeroReason returns why the weight of a server is 0; "" where it is not.
func (s *server) zeroReason() string {
	by := "an operator"
	if s.state == s.cfgState {
		by = "the config"
	}
	switch {
	case s.state == StateDrain:
		return "drained by " + by
	case s.state == StateHalt:
		return "halted by " + by
	case s.agent != nil && s.agent.drain:
		return "drained by its agent"
	case s.runWeight != 0:
		return ""
	case s.weight != 0:
		return "weight 0 by an operator"
	}
	return "weight 0 by the config"
}

// downReason returns why a service whose servers have that weight is down.
func (v *service) downReason(sum, total, quorum int) string {
	causes, up := map[string]int{}, v.upServers()
	for _, s := range v.servers {
		if s.up {
			causes[s.zeroReason()]++
		}
	}
	if sum != 0 || up == 0 {
		return fmt.Sprintf("servers of weight %d of %d are up, quorum %d", sum, total, quorum)
	}
	var parts []string
	for _, cause := range slices.Sorted(maps.Keys(causes)) {
		parts = append(parts, fmt.Sprintf("%d %s", causes[cause], cause))
	}
	return "no server that is up has a weight: " + strings.Join(parts, ", ")
}
