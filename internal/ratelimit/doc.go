// Package ratelimit holds back who asks too often.
//
// Each key has a bucket of Burst tokens that refills evenly, PerMinute tokens a minute. Buckets are in Redis, for all instances
// together, in the form of one time for each: when the bucket will be full (GCRA). The clock is that of Redis. A clock that
// was set back costs a caller one refill of the bucket at most; it never locks anybody out.
//
// An instance takes tokens as a lease of up to 50 and gives what it has not used within a second back with its next call, so
// that busy callers cost Redis little and slow ones lose nothing. All instances together may admit their leases too many.
// Where Burst is below 20 or PerMinute below 300 a lease is one token and the limit is exact.
//
// Without Redis each instance limits by itself. Rate limits are the one thing here that is approximate then.
//
// Keys may contain what is personal, like e-mail addresses: Redis sees only their hash.
package ratelimit
