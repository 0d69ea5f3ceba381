package stripeemu

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
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
}

// testCards are the numbers that Stripe's documentation gives out for
// payments that succeed, with their brands.
func testCards() map[string]string {
	return map[string]string{
		"4242424242424242": "visa", "4000056655665556": "visa", "5555555555554444": "mastercard", "2223003122003222": "mastercard",
		"5200828282828210": "mastercard", "5105105105105100": "mastercard", "378282246310005": "amex", "371449635398431": "amex",
		"6011111111111117": "discover", "3056930009020004": "diners", "3566002020360505": "jcb", "6200000000000005": "unionpay",
	}
}

// declineOf says how a test card is refused, nil where it pays. Any other
// number is refused as Stripe refuses a real card in test mode.
func declineOf(cardNumber string) *decline {
	declined := func(reason, message string) *decline {
		return &decline{code: "card_declined", reason: reason, message: message}
	}
	switch cardNumber {
	case "4000000000000002":
		return declined("generic_decline", "Your card was declined.")
	case "4000000000009995":
		return declined("insufficient_funds", "Your card has insufficient funds.")
	case "4000000000009987":
		return declined("lost_card", "Your card was declined.")
	case "4000000000009979":
		return declined("stolen_card", "Your card was declined.")
	case "4000000000006975":
		return declined("card_velocity_exceeded", "Your card was declined for making repeated attempts too frequently or exceeding its amount limit.")
	case "4000000000000341": // attaches, but no charge succeeds
		return declined("generic_decline", "Your card was declined.")
	case "4000000000000069":
		return &decline{code: "expired_card", reason: "expired_card", message: "Your card has expired."}
	case "4000000000000127":
		return &decline{code: "incorrect_cvc", reason: "incorrect_cvc", message: "Your card's security code is incorrect."}
	case "4000000000000119":
		return &decline{code: "processing_error", reason: "processing_error", message: "An error occurred while processing your card. Try again in a little bit."}
	}
	if testCards()[cardNumber] == "" {
		return declined("test_mode_live_card", "Your card was declined. Your request was in test mode, but used a non test card.")
	}
	return nil
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
