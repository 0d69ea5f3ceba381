package stripehook

import (
	"errors"

	"github.com/stripe/stripe-go/v76/webhook"
)

// verify returns the index of the secret that signed the body. Only a signature that does not fit lets the next secret try;
// a header that is malformed or too old is so for all of them. Age is measured on the wall clock, for Stripe signs by it.
func (s *Service) verify(signature string, body []byte) (int, error) {
	var err error
	for i, secret := range s.secrets {
		if err = webhook.ValidatePayload(body, signature, secret); err == nil {
			return i, nil
		}
		if !errors.Is(err, webhook.ErrNoValidSignature) {
			break
		}
	}
	return 0, err
}
