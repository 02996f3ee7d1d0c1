//go:build !linux

package health

import "net"

func hearICMP(net.Conn) {}
