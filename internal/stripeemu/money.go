package stripeemu

import (
	"fmt"
	"slices"
	"strings"
)

// money writes an amount of the smallest unit for people.
func money(amount int64, currency string) string {
	zeroDecimal := []string{
		"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf",
	}
	threeDecimal := []string{"bhd", "jod", "kwd", "omr", "tnd"}
	symbols := map[string]string{"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}
	symbol, known := symbols[currency]
	if !known {
		symbol = strings.ToUpper(currency) + " "
	}
	switch {
	case slices.Contains(zeroDecimal, currency):
		return fmt.Sprintf("%s%d", symbol, amount)
	case slices.Contains(threeDecimal, currency):
		return fmt.Sprintf("%s%d.%03d", symbol, amount/1000, amount%1000)
	}
	return fmt.Sprintf("%s%d.%02d", symbol, amount/100, amount%100)
}
