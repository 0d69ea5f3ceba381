package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"example.com/saaskit/internal/problem"
)

// limitPause is how long to wait where Supabase limits and does not say: its own pause between two mails.
const limitPause = time.Minute

// An apiError is how Supabase refuses. Msg is for our log only: it may say more than a caller may know.
type apiError struct {
	Code string `json:"error_code"`
	Msg  string `json:"msg"`
	Weak *struct {
		Reasons []string `json:"reasons"`
	} `json:"weak_password"`
	Message string `json:"message"` // of the gateway in front
}

// An answerError is a refusal as it stands in our log.
type answerError struct {
	path   string
	status int
	code   string
	msg    string
}

// Error says what Supabase answered.
func (e *answerError) Error() string {
	return fmt.Sprintf("%s answers %d %q %q", e.path, e.status, e.code, e.msg)
}

// hasCode tells whether err is a refusal of Supabase with this code.
func hasCode(err error, code string) bool {
	var e *answerError
	return errors.As(err, &e) && e.code == code
}

// kindOf gives the problem that an error code becomes, and what helps. What is not here becomes [problem.AuthRefused].
func kindOf(code string) (*problem.Kind, string) {
	switch code {
	case "invalid_credentials":
		return problem.InvalidCredentials, "check both"
	case "email_not_confirmed", "provider_email_needs_verification":
		return problem.EmailNotConfirmed, "use the link or code in the mail; a new one can be sent"
	case "user_already_exists", "email_exists", "phone_exists", "identity_already_exists":
		return problem.UserExists, "sign in, or ask for a new password"
	case "weak_password":
		return problem.WeakPassword, "choose a stronger one"
	case "same_password":
		return problem.SamePassword, "choose another one"
	case "refresh_token_not_found", "refresh_token_already_used", "session_expired":
		return problem.InvalidRefreshToken, "sign in again"
	case "otp_expired", "flow_state_expired", "flow_state_not_found":
		return problem.CodeExpired, "ask for a new one"
	case "signup_disabled", "email_provider_disabled", "anonymous_provider_disabled", "otp_disabled":
		return problem.SignUpDisabled, "ask the operator"
	case "user_banned":
		return problem.UserDisabled, "ask the operator"
	case "session_not_found":
		return problem.SessionRevoked, "sign in again"
	case "bad_jwt", "no_authorization", "user_not_found":
		return problem.InvalidToken, "sign in again"
	case "insufficient_aal":
		return problem.StrongerSignIn, "sign in with a second factor and try again"
	case "reauthentication_needed", "reauthentication_not_valid":
		return problem.ReauthenticationNeeded, "sign in again and repeat"
	case "over_request_rate_limit", "over_email_send_rate_limit", "over_sms_send_rate_limit":
		return problem.RateLimited, "wait before the next try"
	case "validation_failed", "bad_json", "email_address_invalid", "email_address_not_authorized":
		return problem.InvalidRequest, "an address, password or code is not as Supabase Auth wants it"
	}
	return problem.AuthRefused, ""
}

// refused turns an answer that is not 2xx into a problem.
func refused(path string, res *http.Response, body []byte) error {
	var e apiError
	_ = json.Unmarshal(body, &e) // what is not JSON has no code
	if e.Code == "" {
		e.Code = res.Header.Get("X-Sb-Error-Code")
	}
	cause := &answerError{path: path, status: res.StatusCode, code: e.Code, msg: orDefault(e.Msg, e.Message)}
	if res.StatusCode == http.StatusTooManyRequests {
		return problem.RateLimited.Errorf("wait before the next try").After(hint(res, e)).Because(cause)
	}
	if res.StatusCode < 400 || res.StatusCode >= 500 || e.Code == "" {
		// A redirect, a failure, or the gateway that does not take our key.
		return unavailable(cause)
	}
	kind, detail := kindOf(e.Code)
	if kind == problem.AuthRefused {
		detail = "the reason is " + speakable(e.Code)
	}
	p := kind.Errorf("%s", detail).Because(cause)
	if kind == problem.RateLimited {
		return p.After(hint(res, e))
	}
	if kind == problem.WeakPassword && e.Weak != nil {
		for _, reason := range e.Weak.Reasons {
			p = p.In("body.password", weakness(reason))
		}
	}
	return p
}

func weakness(reason string) string {
	switch reason {
	case "length":
		return "is too short"
	case "characters":
		return "needs other kinds of characters as well"
	case "pwned":
		return "is known from a leak"
	}
	return "is too weak"
}

var (
	codeForm    = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)
	secondsForm = regexp.MustCompile(`after (\d{1,6}) seconds?`)
)

// speakable lets a code through that looks like one.
func speakable(code string) string {
	if codeForm.MatchString(code) {
		return code
	}
	return "not known"
}

// hint is how long to wait. Supabase says it in a header or in the middle of its text.
func hint(res *http.Response, e apiError) time.Duration {
	seconds := res.Header.Get("Retry-After")
	if seconds == "" {
		if found := secondsForm.FindStringSubmatch(e.Msg); found != nil {
			seconds = found[1]
		}
	}
	if n, err := strconv.Atoi(seconds); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return limitPause
}
