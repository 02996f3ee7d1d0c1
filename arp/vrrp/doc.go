// Package vrrp speaks the Virtual Router Redundancy Protocol, version 3 (RFC 9568) and
// version 2 (RFC 3768, with RFC 2338's authentication), over IPv4 and IPv6.
package vrrp
