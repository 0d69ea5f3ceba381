package config

import (
	"fmt"
	"log/slog"
)

// A Secret prints as stars under every verb, in JSON and in slog. Call Reveal where the value itself is needed.
type Secret string

const stars = "***"

// Reveal returns the value.
func (s Secret) Reveal() string { return string(s) }

// String returns stars, or nothing where there is no value.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return stars
}

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format prints stars under every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText prints stars in JSON, YAML and flags.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue prints stars in slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }
