package health

import (
	"net"
	"syscall"
)

// reportICMPErrors has a UDP connection return every ICMP error, also those after which
// a retry might succeed, such as host unreachable (IP_RECVERR, as keepalived's
// UDP_CHECK does).
func reportICMPErrors(conn net.Conn) {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return // it is closed, which the next use reports
	}
	// Without the option an unreachable host looks like a silent one. The socket may be
	// of either family, so one of the calls fails.
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVERR, 1)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR, 1)
	})
}
