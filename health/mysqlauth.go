package health

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Authentication methods of MySQL.
const (
	mysqlNative = "mysql_native_password"
	mysqlSHA2   = "caching_sha2_password"
)

// mysqlProof is what a client sends to prove that it knows the password.
func mysqlProof(plugin, password string, salt []byte) ([]byte, error) {
	switch plugin {
	case mysqlNative: // SHA1(p) XOR SHA1(salt + SHA1(SHA1(p)))
		if password == "" {
			return nil, nil
		}
		one := sha1.Sum([]byte(password))
		two := sha1.Sum(one[:])
		mask := sha1.Sum(append(append([]byte(nil), salt...), two[:]...))
		return xor(one[:], mask[:]), nil
	case mysqlSHA2: // SHA256(p) XOR SHA256(SHA256(SHA256(p)) + salt)
		if password == "" {
			return nil, nil
		}
		one := sha256.Sum256([]byte(password))
		two := sha256.Sum256(one[:])
		mask := sha256.Sum256(append(two[:], salt...))
		return xor(one[:], mask[:]), nil
	}
	return nil, fmt.Errorf("login: server requests method %s, want %s or %s", quote(plugin), mysqlNative, mysqlSHA2)
}

// mysqlSeal encrypts a password with the server's public key, in PEM.
func mysqlSeal(key []byte, password string, salt []byte) ([]byte, error) {
	bad := errors.New("login: server's public key is not an RSA key of at most 8192 bits")
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, bad
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	public, ok := parsed.(*rsa.PublicKey)
	if err != nil || !ok || public.Size() > 1024 || len(salt) == 0 {
		return nil, bad
	}
	plain := []byte(password + "\x00")
	for i := range plain {
		plain[i] ^= salt[i%len(salt)]
	}
	sealed, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, public, plain, nil)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	return sealed, nil
}

// xor returns a XOR b, which have the same length.
func xor(a, b []byte) []byte {
	out := make([]byte, len(a))
	for i := range a {
		out[i] = a[i] ^ b[i]
	}
	return out
}
