// Package supabase is a stand-in for Supabase Auth: an [http.Handler] that
// speaks its endpoints, answers, error codes and headers, so that development
// and tests need neither a project nor the network.
//
// It is for development only. What it imitates was observed on the real server
// and is held by this package's tests; where the two differ, the stand-in is
// wrong. It sends no mail: codes and links are logged and kept, see
// [Server.Mail].
//
// Everything is in memory under one lock. With a path in its [Config] the state
// is also written to one small file after each change, so that users and their
// sessions survive a restart. The answer to a change is sent after that write:
// what a client was told is on the disk.
//
// Tests script it through the methods of [Server]: tokens of any shape, rotated
// keys, a JWKS that fails or hangs, the number of times it was fetched.
package supabase
