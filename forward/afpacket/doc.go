// Package afpacket is a port on one network interface: it receives and sends Ethernet
// frames in batches through AF_PACKET sockets, with the offload header of each, so that
// unfinished checksums and super-packets of up to 64 KiB pass whole and nobody has to
// switch offloads off. It is the one package of golb with raw system calls and unsafe.
//
// The kernel's own stack goes on seeing the same frames. A Filter keeps all but golb's
// own from being copied.
package afpacket
