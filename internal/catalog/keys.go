package catalog

import (
	"fmt"
	"strconv"
	"strings"
)

// tierKey is the lookup key of a tier's first price: pro_month_usd.
func tierKey(tierID, interval, currency string) string {
	return tierID + "_" + interval + "_" + currency
}

// packKey is the lookup key of a pack's first price: pack_small_usd.
func packKey(packID, currency string) string { return "pack_" + packID + "_" + currency }

// versionKey is the lookup key of the nth price in the place of the first one.
func versionKey(base string, n int) string {
	if n == 1 {
		return base
	}
	return fmt.Sprintf("%s_v%d", base, n)
}

// versionOf is the n that gives the key from its base.
func versionOf(key, base string) int {
	digits, ok := strings.CutPrefix(key, base+"_v")
	if !ok {
		return 1
	}
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 1
	}
	return n
}
