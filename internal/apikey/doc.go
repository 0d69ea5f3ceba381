// Package apikey issues, checks and revokes the keys that programs use to call the API.
//
// A secret is a prefix, 256 random bits and a checksum, all in letters and digits so that a double click selects it:
//
//	sk_[0-9A-Za-z]{49}
//
// (sk is the configured prefix.) The last six characters are the CRC-32 of everything before them in base 62. A mistyped key is
// refused without a look-up, and a scanner for leaked secrets can tell a key from noise.
//
// A secret is shown once, when its key is created. What the database keeps is its SHA-256: with 256 random bits a slow password
// hash would add cost to every request and no safety. Nobody, us included, can read a secret back, which is why the replay of a
// creation has none.
//
// A key may do what its scopes say, none by default, from the addresses that it allows, until it expires or is revoked. How
// many live keys an account may have is set by the tier in effect. The check and the insert happen under the lock on the
// account's row, so that two requests at once cannot both take the last place.
//
// A service key has no account and works for any. Only the operator makes one.
//
// Every request reads its key through the cache. Whatever changes what [Service.Authenticate] answers has to bury the key's
// hash there before its commit and again after it; see package cache for why. last_used_at is written in batches.
package apikey
