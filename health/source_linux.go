package health

import "syscall"

// bindWithoutPort has connect choose the port, not bind: then several servers may be
// checked from one port (IP_BIND_ADDRESS_NO_PORT).
func bindWithoutPort(fd uintptr) {
	const noPort = 24
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, noPort, 1) // without it there are fewer ports
}

func bindToInterface(fd uintptr, name string) error { return syscall.BindToDevice(int(fd), name) }
