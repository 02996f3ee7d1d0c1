package health

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"slices"
	"strings"
)

// oldSuites are cipher suites that crypto/tls does not have, by IANA's names.
var oldSuites = map[uint16]string{
	0x0003: "TLS_RSA_EXPORT_WITH_RC4_40_MD5", 0x0004: "TLS_RSA_WITH_RC4_128_MD5", 0x0006: "TLS_RSA_EXPORT_WITH_RC2_CBC_40_MD5",
	0x0007: "TLS_RSA_WITH_IDEA_CBC_SHA", 0x0008: "TLS_RSA_EXPORT_WITH_DES40_CBC_SHA", 0x0009: "TLS_RSA_WITH_DES_CBC_SHA",
	0x0011: "TLS_DHE_DSS_EXPORT_WITH_DES40_CBC_SHA", 0x0012: "TLS_DHE_DSS_WITH_DES_CBC_SHA", 0x0013: "TLS_DHE_DSS_WITH_3DES_EDE_CBC_SHA",
	0x0014: "TLS_DHE_RSA_EXPORT_WITH_DES40_CBC_SHA", 0x0015: "TLS_DHE_RSA_WITH_DES_CBC_SHA", 0x0016: "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",
	0x0018: "TLS_DH_anon_WITH_RC4_128_MD5", 0x001b: "TLS_DH_anon_WITH_3DES_EDE_CBC_SHA",
	0x0032: "TLS_DHE_DSS_WITH_AES_128_CBC_SHA", 0x0033: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA", 0x0034: "TLS_DH_anon_WITH_AES_128_CBC_SHA",
	0x0038: "TLS_DHE_DSS_WITH_AES_256_CBC_SHA", 0x0039: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA", 0x003a: "TLS_DH_anon_WITH_AES_256_CBC_SHA",
	0x003d: "TLS_RSA_WITH_AES_256_CBC_SHA256", 0x0040: "TLS_DHE_DSS_WITH_AES_128_CBC_SHA256", 0x0041: "TLS_RSA_WITH_CAMELLIA_128_CBC_SHA",
	0x0045: "TLS_DHE_RSA_WITH_CAMELLIA_128_CBC_SHA", 0x0067: "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256", 0x006a: "TLS_DHE_DSS_WITH_AES_256_CBC_SHA256",
	0x006b: "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", 0x0084: "TLS_RSA_WITH_CAMELLIA_256_CBC_SHA", 0x0088: "TLS_DHE_RSA_WITH_CAMELLIA_256_CBC_SHA",
	0x0096: "TLS_RSA_WITH_SEED_CBC_SHA", 0x009a: "TLS_DHE_RSA_WITH_SEED_CBC_SHA",
	0x009e: "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", 0x009f: "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384",
	0x00a2: "TLS_DHE_DSS_WITH_AES_128_GCM_SHA256", 0x00a3: "TLS_DHE_DSS_WITH_AES_256_GCM_SHA384",
	0xc004: "TLS_ECDH_ECDSA_WITH_AES_128_CBC_SHA", 0xc005: "TLS_ECDH_ECDSA_WITH_AES_256_CBC_SHA",
	0xc00e: "TLS_ECDH_RSA_WITH_AES_128_CBC_SHA", 0xc00f: "TLS_ECDH_RSA_WITH_AES_256_CBC_SHA",
	0xc024: "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", 0xc028: "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384",
	0xc09c: "TLS_RSA_WITH_AES_128_CCM", 0xc09d: "TLS_RSA_WITH_AES_256_CCM", 0xc09e: "TLS_DHE_RSA_WITH_AES_128_CCM",
	0xc09f: "TLS_DHE_RSA_WITH_AES_256_CCM", 0xc0ac: "TLS_ECDHE_ECDSA_WITH_AES_128_CCM", 0xc0ad: "TLS_ECDHE_ECDSA_WITH_AES_256_CCM",
	0xccaa: "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
}

// suiteName returns IANA's name of a cipher suite, or its number.
func suiteName(id uint16) string { return cmp.Or(oldSuites[id], tls.CipherSuiteName(id)) }

// everySuite returns the cipher suites of crypto/tls up to TLS 1.2, the insecure ones too.
func everySuite() []uint16 {
	var all []uint16
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		if s.SupportedVersions[0] != tls.VersionTLS13 {
			all = append(all, s.ID)
		}
	}
	return all
}

// oldHello returns a record with a ClientHello that offers all suites, groups and
// signatures that servers of SSL 3.0 to TLS 1.2 may have: for servers that crypto/tls has
// nothing in common with, whose ServerHello is all that it is sent for.
func oldHello(cfg *tls.Config) []byte {
	const renegotiation = 0x00ff // that it is known (RFC 5746 section 3.3)
	suites := append(everySuite(), renegotiation)
	for id := range oldSuites {
		suites = append(suites, id)
	}
	extensions := slices.Concat(
		extension(10, vector16(numbers(23, 24, 25, 29, 30, 26, 27, 28, 22, 19, 21, 256, 257, 258))), // groups: NIST, X25519, X448, brainpool, small, ffdhe
		extension(11, []byte{1, 0}), // points: uncompressed
		// Signatures by RSA, DSA and ECDSA of SHA-512 down to MD5, RSA-PSS, EdDSA.
		extension(13, vector16(numbers(0x0601, 0x0603, 0x0501, 0x0503, 0x0401, 0x0402, 0x0403, 0x0301, 0x0302, 0x0303, 0x0201, 0x0202, 0x0203, 0x0101,
			0x0804, 0x0805, 0x0806, 0x0807, 0x0808))),
	)
	if name := cfg.ServerName; strings.ContainsFunc(name, func(r rune) bool { return r > '9' && r != ':' }) {
		extensions = append(extensions, extension(0, vector16(append([]byte{0}, vector16([]byte(name))...)))...)
	}
	if len(cfg.NextProtos) > 0 {
		var protocols []byte
		for _, p := range cfg.NextProtos {
			protocols = append(append(protocols, byte(len(p))), p...)
		}
		extensions = append(extensions, extension(16, vector16(protocols))...)
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	body := slices.Concat(numbers(tls.VersionTLS12), random, []byte{0}, vector16(numbers(suites...)), []byte{1, 0}, vector16(extensions))
	message := slices.Concat([]byte{messageClientHello, 0}, vector16(body))
	return slices.Concat([]byte{recordHandshake}, numbers(tls.VersionTLS10), vector16(message))
}

func numbers(all ...uint16) (b []byte) {
	for _, n := range all {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	return b
}

// vector16 puts the length before b.
func vector16(b []byte) []byte { return append(numbers(uint16(len(b))), b...) }

func extension(kind uint16, data []byte) []byte { return append(numbers(kind), vector16(data)...) }
