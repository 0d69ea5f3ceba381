package account

import "log/slog"

// A Token is the access token that a user has sent, for questions to Supabase Auth in the user's own name. It prints as stars
// wherever it is printed by mistake.
type Token string

const stars = "****"

// String hides the token.
func (Token) String() string { return stars }

// GoString hides the token.
func (Token) GoString() string { return stars }

// LogValue hides the token.
func (Token) LogValue() slog.Value { return slog.StringValue(stars) }

// MarshalText hides the token, in JSON too.
func (Token) MarshalText() ([]byte, error) { return []byte(stars), nil }
