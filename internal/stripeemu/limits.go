package stripeemu

import (
	"maps"
	"slices"
	"strings"

	"example.com/saaskit/internal/stripecontract"
)

const (
	maxAmount   = 99_999_999 // of one payment, one price, one line
	maxQuantity = 99_999_999
	maxTrial    = 730 * day
)

// currencies are those that Stripe takes.
var currencies = strings.Fields(`aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf chf clp
	cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl hrk htg huf idr ils inr isk jmd jod jpy kes
	kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mro mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab
	pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sll sos srd std svc szl thb tjs tnd top try ttd twd tzs uah ugx
	usd uyu uzs vnd vuv wst xaf xcd xof xpf yer zar zmw`)

// leastCharges are the smallest amounts that Stripe charges, by currency.
var leastCharges = map[string]int64{
	"aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30, "hkd": 400,
	"hrk": 50, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300,
	"sgd": 50, "thb": 1000, "usd": 50,
}

// leastCharge is the smallest amount that can be charged in a currency.
func leastCharge(currency string) int64 {
	if least := leastCharges[currency]; least != 0 {
		return least
	}
	return 1
}

// chargeable refuses an amount that no card can be charged with.
func chargeable(amount int64, currency string) error {
	switch least := leastCharge(currency); {
	case amount < 1:
		return stripecontract.Invalid("parameter_invalid_integer", "amount", "This value must be greater than or equal to 1.")
	case amount < least:
		return coded("amount_too_small", "amount", "Amount must be at least %s", money(least, currency))
	case amount > maxAmount:
		return coded("amount_too_large", "amount", "Amount must be no more than %s", money(maxAmount, currency))
	}
	return nil
}

// inBounds writes all currencies of a request in small letters, as objects have
// them, and refuses numbers that would run over somewhere.
func inBounds(params object, path string) error {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		at := name
		if path != "" {
			at = path + "[" + name + "]"
		}
		var err error
		switch value := params[name].(type) {
		case string:
			if name == "currency" || name == "minimum_amount_currency" {
				params[name], err = knownCurrency(value, at)
			}
		case int64:
			err = numberInBounds(name, value, at)
		case object:
			if name == "currency_options" {
				if value, err = byCurrency(value, at); err != nil {
					return err
				}
				params[name] = value
			}
			if name != "metadata" {
				err = inBounds(value, at)
			}
		case []any:
			for _, element := range value {
				if inner, ok := element.(object); ok && err == nil {
					err = inBounds(inner, at)
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func knownCurrency(given, param string) (string, error) {
	currency := strings.ToLower(given)
	if currency != "" && !slices.Contains(currencies, currency) {
		return "", invalid(param, "Invalid currency: %s.", given)
	}
	return currency, nil
}

func byCurrency(options object, param string) (object, error) {
	lowered := object{}
	for given, value := range options {
		currency, err := knownCurrency(given, param)
		if err != nil {
			return nil, err
		}
		lowered[currency] = value
	}
	return lowered, nil
}

func numberInBounds(name string, value int64, param string) error {
	switch name {
	case "quantity":
		if value < 0 || value > maxQuantity {
			return coded("parameter_invalid_integer", param, "A quantity must be between 0 and %d.", maxQuantity)
		}
	case "amount", "unit_amount", "balance", "refund_amount", "credit_amount", "out_of_band_amount", "amount_off", "minimum_amount":
		if value > maxAmount || value < -maxAmount {
			return coded("amount_too_large", param, "Amount must be no more than %d.", maxAmount)
		}
	}
	return nil
}
