package health

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/Azure/go-ntlmssp"

	"github.com/golb/golb/health/printable"
)

// HTTPLogin is a name and a password for a web server. The zero value sends none.
type HTTPLogin struct {
	Login    string // with NTLM it may be DOMAIN\name or name@domain
	Password string
	// NTLM logs the connection in by NTLMv2 (MS-NLMP), as appliances' checks of IIS and
	// Exchange do. Otherwise the login is in the request (Basic, RFC 7617).
	NTLM bool
}

// bind binds the keys of l.
func (l *HTTPLogin) bind(k *Keys) {
	auth, domain := "", ""
	k.Login(&l.Login, &l.Password)
	k.Choice(&auth, "auth", "basic", "how to log in", "basic", "ntlm")
	k.String(&domain, "domain", "", "domain of the login, with ntlm")
	k.Then(func() error {
		l.NTLM = auth == "ntlm"
		switch {
		case l.NTLM && l.Login == "":
			return ParamError{Key: "auth", Value: auth, Problem: "login is not given"}
		case domain != "" && !l.NTLM:
			return ParamError{Key: "domain", Value: domain, Problem: "only with auth ntlm"}
		case domain != "":
			l.Login = domain + `\` + l.Login
		}
		return nil
	})
}

// over returns a roundTripper on s that logs in.
func (l HTTPLogin) over(s *session, roundTrip roundTripper) roundTripper {
	in := false
	return func(req *http.Request) (*http.Response, error) {
		switch {
		case l.Login == "" || in:
		case l.NTLM:
			in = true // as long as the connection lasts
			return l.ntlm(s, req, roundTrip)
		default:
			req.SetBasicAuth(l.Login, l.Password)
		}
		return roundTrip(req)
	}
}

// ntlm makes a request twice: with a message that the server answers by a challenge, and
// with the answer to that.
func (l HTTPLogin) ntlm(s *session, req *http.Request, roundTrip roundTripper) (*http.Response, error) {
	const scheme = "NTLM "
	hello, err := ntlmssp.NewNegotiateMessage("", "")
	if err != nil {
		return nil, fmt.Errorf("ntlm: %w", err)
	}
	first := *req
	first.Header, first.Close = req.Header.Clone(), false
	first.Header.Set("Authorization", scheme+base64.StdEncoding.EncodeToString(hello))
	resp, err := roundTrip(&first)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err // the server wants no login
	}
	defer resp.Body.Close()
	offers := resp.Header.Values("Www-Authenticate")
	challenge := ""
	for _, offer := range offers {
		if text, ok := strings.CutPrefix(offer, scheme); ok {
			challenge = text
		}
	}
	if challenge == "" {
		return nil, fmt.Errorf("no challenge of NTLM: server offers %s", quote(strings.Join(offers, ", ")))
	}
	if err := s.keep(&first, resp); err != nil {
		return nil, err
	}
	message, err := base64.StdEncoding.DecodeString(challenge)
	if err != nil {
		return nil, mismatch("ntlm", challenge, "a challenge in base64")
	}
	answer, err := ntlmssp.NewAuthenticateMessage(message, l.Login, l.Password, nil)
	if err != nil {
		return nil, fmt.Errorf("ntlm: challenge: %s", printable.Line(err.Error(), maxReason)) // it may wrap io.EOF, which here is not the connection's
	}
	req.Header.Set("Authorization", scheme+base64.StdEncoding.EncodeToString(answer))
	return roundTrip(req)
}
