package simulate

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/golb/golb/lb"
)

// settingsOf are those of a kernel with these sysctls changed: ip_vs's own
// defaults, and ICMP that is not rate-limited.
func settingsOf(sysctls []string) (lb.Settings, error) {
	s := lb.Settings{IPVSCompat: true, AnswerRate: math.MaxInt32}
	for _, line := range sysctls {
		key, text, _ := strings.Cut(line, "=")
		value, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			return s, fmt.Errorf("sysctl %q: allowed: NAME=NUMBER", line)
		}
		name := strings.TrimPrefix(strings.TrimSpace(key), "net.ipv4.vs.")
		if err := set(&s, name, value); err != nil {
			return s, fmt.Errorf("sysctl %q: %w", line, err)
		}
	}
	return s, nil
}

func set(s *lb.Settings, name string, value int) error {
	on := value != 0
	switch name {
	case "expire_nodest_conn":
		s.ExpireNodestConn = &on
	case "expire_quiescent_template":
		s.ExpireQuiescentTemplate = &on
	case "conn_reuse_mode":
		s.ConnReuseMode = &value
	case "sloppy_tcp":
		s.SloppyTCP = on
	case "sloppy_sctp":
		s.SloppySCTP = on
	case "pmtu_disc":
		s.PMTUDisc = &on
	default:
		return errors.New("no setting of golb; allowed: expire_nodest_conn, expire_quiescent_template, conn_reuse_mode, sloppy_tcp, sloppy_sctp, pmtu_disc")
	}
	return nil
}
