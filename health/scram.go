package health

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// scram is the client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), without a
// channel binding.
type scram struct {
	name      string // "" for PostgreSQL, which got it before
	password  string
	nonce     string
	signature []byte // that the server must send
}

// maxSCRAMIterations bounds the work that a server can cause; 4096 is usual.
const maxSCRAMIterations = 100_000

func newSCRAM(password string) *scram { return &scram{password: password, nonce: rand.Text()} }

func (s *scram) clientFirstBare() string { return "n=" + s.name + ",r=" + s.nonce }
func (s *scram) first() string           { return "n,," + s.clientFirstBare() }

// final answers the server's first message.
func (s *scram) final(serverFirst string) (string, error) {
	fields := scramFields(serverFirst)
	salt, err := base64.StdEncoding.DecodeString(fields["s"])
	iterations, err2 := strconv.Atoi(fields["i"])
	if err != nil || err2 != nil || iterations < 1 || iterations > maxSCRAMIterations || len(fields["r"]) <= len(s.nonce) || !strings.HasPrefix(fields["r"], s.nonce) {
		return "", mismatch("login: SASL", serverFirst, fmt.Sprintf("our nonce, a salt and at most %d iterations", maxSCRAMIterations))
	}
	salted, err := pbkdf2.Key(sha256.New, s.password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("login: SASL: %w", err)
	}
	clientKey := hmacSHA256(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	withoutProof := "c=biws,r=" + fields["r"] // biws is n,, in base64
	message := s.clientFirstBare() + "," + serverFirst + "," + withoutProof
	proof := hmacSHA256(stored[:], message)
	for i := range proof {
		proof[i] ^= clientKey[i]
	}
	s.signature = hmacSHA256(hmacSHA256(salted, "Server Key"), message)
	return withoutProof + ",p=" + base64.StdEncoding.EncodeToString(proof), nil
}

// verify is an error unless the server's last message proves that it knows the password.
func (s *scram) verify(outcome string) error {
	got, err := base64.StdEncoding.DecodeString(scramFields(outcome)["v"])
	if err != nil || !hmac.Equal(got, s.signature) {
		return errors.New("login: SASL: server does not know the password")
	}
	return nil
}

func hmacSHA256(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

// scramFields splits a=value,b=value.
func scramFields(s string) map[string]string {
	fields := make(map[string]string)
	for part := range strings.SplitSeq(s, ",") {
		if name, value, ok := strings.Cut(part, "="); ok {
			fields[name] = value
		}
	}
	return fields
}
