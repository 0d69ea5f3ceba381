// Package cache keeps what every request asks for close at hand: first in this process, for less than a second, then in
// Redis, which all instances share. What it holds may be lost at any time; the truth is in PostgreSQL.
//
// A change that must be seen everywhere within a second (a revoked key, a disabled user) calls [Table.Invalidate] inside its
// transaction as the last thing before the commit, and again after it:
//
//   - Invalidate leaves a tombstone in Redis. While it is there nobody fills, so a reader who sees the row as it was before
//     the commit cannot put it back.
//   - A reader fills only in exchange for the lease that it left in Redis before it read. The tombstone replaces the lease, so
//     a reader that was held up cannot fill either, however long it was held: also not when the tombstone is gone again.
//   - Redis tells every instance which keys have changed (client-side caching in broadcast mode), and they drop their copies.
//     Where that message is lost, the copy ends by itself: it lives for 0.9 s from the moment its read began.
//   - A tombstone that could not be sent is sent as soon as Redis answers again. Until then this instance does not read from
//     Redis. An instance that lost Redis trusts no value in it that may be older than the loss.
//
// Without Redis, at the start or later, values come from PostgreSQL and live in the process for the same 0.9 s. A Redis that
// does not answer costs the first requests 0.2 s and the others nothing: one goroutine asks it until it answers.
//
// What remains: where the instance that makes a change has lost Redis and others have not, nobody buries the value for them.
// There the value's age is what ends it. A value in Redis ends the ttl of its table after its reader has left the lease, which
// is before it read; a copy that was taken from Redis ends with the value that it was taken from. So a table that guards
// something has a ttl of [GuardLife]: with the time that Redis may take to answer it makes a second.
package cache
