package stripeemu

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"

	"example.com/saaskit/internal/stripecontract"
)

// A card is what the page's form holds.
type card struct {
	number   string
	expMonth int64
	expYear  int64
}

// A decline is why a card was not charged.
type decline struct {
	code    string // card_declined, expired_card, …
	reason  string // decline_code; empty where code says it all
	message string
	// action is set where nobody has refused yet: the holder of the card must
	// authenticate first.
	action bool
}

// asError is the error of a request that wanted to charge the card.
func (d *decline) asError(intent object) error {
	extra := object{}
	if d.reason != "" {
		extra["decline_code"] = d.reason
	}
	if intent != nil {
		extra[text(intent, "object")] = clone(intent)
		if charge := text(intent, "latest_charge"); charge != "" {
			extra["charge"] = charge
		}
	}
	return &stripecontract.Error{Status: http.StatusPaymentRequired, Type: "card_error", Code: d.code, Message: d.message, Extra: extra}
}

// testCards are the numbers that Stripe's documentation gives out for
// payments that succeed, with their brands.
func testCards() map[string]string {
	return map[string]string{
		"4242424242424242": "visa", "4000056655665556": "visa", "5555555555554444": "mastercard", "2223003122003222": "mastercard",
		"5200828282828210": "mastercard", "5105105105105100": "mastercard", "378282246310005": "amex", "371449635398431": "amex",
		"6011111111111117": "discover", "3056930009020004": "diners", "3566002020360505": "jcb", "6200000000000005": "unionpay",
		cardBypassPending: "visa", cardAlwaysAuthenticate: "visa", cardAuthenticateOnce: "visa", cardAlreadySetUp: "visa",
		cardAuthenticateInsufficient: "visa", cardThreeDSecure2: "visa", cardThreeDSecure: "visa", cardAuthenticateDeclined: "visa",
		cardDisputeFraud: "visa", cardDisputeProduct: "visa", cardDisputeInquiry: "visa", cardRefundPending: "visa", cardRefundFails: "visa",
	}
}

// The test cards that do something special, all of Stripe's documentation.
const (
	cardDeclined         = "4000000000000002"
	cardFailsLater       = "4000000000000341" // attaches, but no charge succeeds
	cardInsufficient     = "4000000000009995"
	cardExpired          = "4000000000000069"
	cardProcessingError  = "4000000000000119"
	cardBypassPending    = "4000000000000077" // its money is available at once
	cardAlreadySetUp     = "4000003800000446" // authenticates on session, never off session
	cardAuthenticateOnce = "4000002500003155" // authenticates until it is set up

	cardAlwaysAuthenticate       = "4000002760003184"
	cardThreeDSecure2            = "4000000000003220"
	cardThreeDSecure             = "4000000000003063"
	cardAuthenticateInsufficient = "4000008260003178" // authenticates, then lacks funds
	cardAuthenticateDeclined     = "4000008400001629" // authenticates, then is declined

	cardDisputeFraud   = "4000000000000259"
	cardDisputeProduct = "4000000000002685"
	cardDisputeInquiry = "4000000000001976"
	cardRefundPending  = "4000000000007726" // a refund is pending first, then succeeds
	cardRefundFails    = "4000000000005126" // a refund succeeds first, then fails
)

// testTokens are the payment methods that exist in every account in test mode,
// without their prefix pm_card_ or tok_.
func testTokens() map[string]string {
	return map[string]string{
		"visa": "4242424242424242", "visa_debit": "4000056655665556", "mastercard": "5555555555554444", "amex": "378282246310005",
		"discover": "6011111111111117", "diners": "3056930009020004", "jcb": "3566002020360505", "unionpay": "6200000000000005",
		"mastercard_debit": "5200828282828210", "mastercard_prepaid": "5105105105105100", "us": "4242424242424242",
		"chargeDeclined": cardDeclined, "visa_chargeDeclined": cardDeclined, "chargeCustomerFail": cardFailsLater,
		"visa_chargeDeclinedInsufficientFunds": cardInsufficient, "chargeDeclinedInsufficientFunds": cardInsufficient,
		"visa_chargeDeclinedLostCard": "4000000000009987", "visa_chargeDeclinedStolenCard": "4000000000009979",
		"chargeDeclinedExpiredCard": cardExpired, "chargeDeclinedIncorrectCvc": "4000000000000127",
		"chargeDeclinedProcessingError": cardProcessingError, "visa_chargeDeclinedVelocityLimitExceeded": "4000000000006975",
		"bypassPending": cardBypassPending, "authenticationRequired": cardAlwaysAuthenticate,
		"authenticationRequiredOnSetup": cardAuthenticateOnce, "authenticationRequiredSetupForOffSession": cardAlreadySetUp,
		"authenticationRequiredChargeDeclinedInsufficientFunds": cardAuthenticateInsufficient,
		"threeDSecure2Required":                                 cardThreeDSecure2, "threeDSecureRequired": cardThreeDSecure,
		"threeDSecure": cardThreeDSecure, "threeDSecureRequiredChargeDeclined": cardAuthenticateDeclined,
		"createDispute": cardDisputeFraud, "createDisputeProductNotReceived": cardDisputeProduct,
		"createDisputeInquiry": cardDisputeInquiry, "pendingRefund": cardRefundPending, "refundFail": cardRefundFails,
	}
}

// declines are the reasons for which a bank refuses a card.
func declines() map[string]*decline {
	table := map[string]*decline{
		"expired_card":            {code: "expired_card", message: "Your card has expired."},
		"incorrect_cvc":           {code: "incorrect_cvc", message: "Your card's security code is incorrect."},
		"processing_error":        {code: "processing_error", message: "An error occurred while processing your card. Try again in a little bit."},
		"insufficient_funds":      {message: "Your card has insufficient funds."},
		"card_velocity_exceeded":  {message: "Your card was declined for making repeated attempts too frequently or exceeding its amount limit."},
		"test_mode_live_card":     {message: "Your card was declined. Your request was in test mode, but used a non test card."},
		"authentication_required": {code: "authentication_required", message: "Your card was declined. This transaction requires authentication."},
		"generic_decline":         {}, "lost_card": {}, "stolen_card": {}, "do_not_honor": {}, "fraudulent": {}, "pickup_card": {},
		"try_again_later": {}, "transaction_not_allowed": {},
	}
	for reason, d := range table {
		d.reason = reason
		if d.code == "" {
			d.code = "card_declined"
		}
		if d.message == "" {
			d.message = "Your card was declined."
		}
	}
	return table
}

// declineOf says how a test card is refused, nil where it pays. Any other
// number is refused as Stripe refuses a real card in test mode.
func declineOf(cardNumber string) *decline {
	reasons := map[string]string{
		cardDeclined: "generic_decline", cardFailsLater: "generic_decline", cardAuthenticateDeclined: "generic_decline",
		cardInsufficient: "insufficient_funds", cardAuthenticateInsufficient: "insufficient_funds",
		"4000000000009987": "lost_card", "4000000000009979": "stolen_card", "4000000000006975": "card_velocity_exceeded",
		cardExpired: "expired_card", "4000000000000127": "incorrect_cvc", cardProcessingError: "processing_error",
	}
	if reason := reasons[cardNumber]; reason != "" {
		return declines()[reason]
	}
	if testCards()[cardNumber] == "" {
		return declines()["test_mode_live_card"]
	}
	return nil
}

// refusedAtAttach says that a card is refused already when it is attached to a
// customer or set up, as the bank is asked then. One that fails later is not.
func refusedAtAttach(cardNumber string) *decline {
	switch cardNumber {
	case cardFailsLater, cardAuthenticateInsufficient, cardAuthenticateDeclined:
		return nil
	}
	return declineOf(cardNumber)
}

// wantsAuthentication says whether a card asks its holder before it pays.
func wantsAuthentication(cardNumber string, isSetUp, offSession bool) bool {
	switch cardNumber {
	case cardAlwaysAuthenticate, cardThreeDSecure2, cardThreeDSecure, cardAuthenticateInsufficient, cardAuthenticateDeclined:
		return true
	case cardAuthenticateOnce:
		return !isSetUp
	case cardAlreadySetUp:
		return !offSession
	}
	return false
}

// brandOf is the brand of a test card, also of those that are declined.
func brandOf(cardNumber string) string {
	if brand := testCards()[cardNumber]; brand != "" {
		return brand
	}
	return "visa"
}

// fingerprint is the same for the same number, as at Stripe.
func fingerprint(cardNumber string) string {
	sum := sha256.Sum256([]byte(cardNumber))
	return strings.NewReplacer("-", "a", "_", "b").Replace(base64.RawURLEncoding.EncodeToString(sum[:12]))
}

func lastFour(cardNumber string) string {
	return cardNumber[max(0, len(cardNumber)-4):]
}

// readCard reads the form's card fields and checks their form alone.
func readCard(cardNumber, expiry, cvc string, now time.Time) (*card, *decline) {
	digits := strings.NewReplacer(" ", "", "-", "").Replace(cardNumber)
	if !passesLuhn(digits) {
		return nil, &decline{code: "invalid_number", message: "Your card number is invalid."}
	}
	month, year, ok := readExpiry(expiry)
	if !ok {
		return nil, &decline{code: "invalid_expiry_month", message: "Your card's expiration date is invalid."}
	}
	if end := time.Date(int(year), time.Month(month)+1, 1, 0, 0, 0, 0, time.UTC); !now.Before(end) {
		return nil, &decline{code: "invalid_expiry_year", message: "Your card's expiration date is in the past."}
	}
	if n, err := strconv.Atoi(cvc); err != nil || n < 0 || len(cvc) < 3 || len(cvc) > 4 {
		return nil, &decline{code: "invalid_cvc", message: "Your card's security code is invalid."}
	}
	return &card{number: digits, expMonth: month, expYear: year}, nil
}

// readExpiry reads "12 / 34" and "12/2034".
func readExpiry(expiry string) (month, year int64, ok bool) {
	left, right, found := strings.Cut(strings.ReplaceAll(expiry, " ", ""), "/")
	month, monthErr := strconv.ParseInt(left, 10, 64)
	year, yearErr := strconv.ParseInt(right, 10, 64)
	if year < 100 {
		year += 2000
	}
	return month, year, found && monthErr == nil && yearErr == nil && month >= 1 && month <= 12 && year < 2100
}

func passesLuhn(digits string) bool {
	if len(digits) < 12 || len(digits) > 19 {
		return false
	}
	sum := 0
	for i := range len(digits) {
		digit := int(digits[len(digits)-1-i] - '0')
		if digit < 0 || digit > 9 {
			return false
		}
		if i%2 == 1 {
			if digit *= 2; digit > 9 {
				digit -= 9
			}
		}
		sum += digit
	}
	return sum%10 == 0
}
