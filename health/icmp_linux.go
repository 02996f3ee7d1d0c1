package health

import (
	"net"
	"syscall"
)

// hearICMP has a packet connection report all ICMP errors, also those that a
// connection could outlive, such as that the host cannot be reached (IP_RECVERR, as
// keepalived's UDP_CHECK does).
func hearICMP(conn net.Conn) {
	udp, ok := conn.(*net.UDPConn)
	if !ok {
		return
	}
	raw, err := udp.SyscallConn()
	if err != nil {
		return // it is closed, which the next use says
	}
	// Without it a dead host is silent instead. The socket may be of either family.
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_RECVERR, 1)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IPV6, syscall.IPV6_RECVERR, 1)
	})
}
