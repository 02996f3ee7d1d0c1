package health

import "slices"

// The few forms of BER (X.690) that LDAP needs: definite lengths, tags of one byte.

// berTLV is a tag, the length of the parts, and the parts.
func berTLV(tag byte, parts ...[]byte) []byte {
	content := slices.Concat(parts...)
	switch n := len(content); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, content...)
	case n < 0x10000:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, content...)
	default:
		return append([]byte{tag, 0x84, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, content...)
	}
}

// berInt is an INTEGER from 0 to 127.
func berInt(n int) []byte { return berTLV(2, []byte{byte(n)}) }

func berString(s string) []byte { return berTLV(4, []byte(s)) }

// berNext splits b into its first element and the rest.
func berNext(b []byte) (tag byte, content, tail []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	tag, length := b[0], int(b[1])
	b = b[2:]
	if length&0x80 != 0 {
		n := length & 0x7f
		if n == 0 || n > 4 || n > len(b) {
			return 0, nil, nil, false
		}
		length = 0
		for _, x := range b[:n] {
			length = length<<8 | int(x)
		}
		b = b[n:]
	}
	if length > len(b) {
		return 0, nil, nil, false
	}
	return tag, b[:length], b[length:], true
}

// berValue is the content of an INTEGER or ENUMERATED; -1 where it is no small one.
func berValue(b []byte) int {
	if len(b) == 0 || len(b) > 4 || b[0]&0x80 != 0 {
		return -1
	}
	n := 0
	for _, x := range b {
		n = n<<8 | int(x)
	}
	return n
}
