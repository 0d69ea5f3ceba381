package apikey

// NewSecret makes a secret.
func NewSecret(prefix string) string { return newSecret(prefix) }

// WellFormed tells whether secret can be a key.
func WellFormed(prefix, secret string) bool { return wellFormed(prefix, secret) }
