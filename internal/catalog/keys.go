package catalog

import "fmt"

// tierKey is the lookup key of a tier's first price: pro_month_usd.
func tierKey(tierID, interval, currency string) string { return tierID + "_" + interval + "_" + currency }

// packKey is the lookup key of a pack's first price: pack_small_usd.
func packKey(packID, currency string) string { return "pack_" + packID + "_" + currency }

// versionKey is the lookup key of the nth price in the place of the first one.
func versionKey(base string, n int) string {
	if n == 1 {
		return base
	}
	return fmt.Sprintf("%s_v%d", base, n)
}
