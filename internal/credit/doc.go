// Package credit is the ledger of credits.
//
// An account's credits lie in lots. A lot is what was granted for one reason (an invoice line, a pack, a month of an
// allowance), named by its natural key: granting it again changes nothing. A renewal adds a lot and never resets another, so
// roll-over is nothing but a lot that outlives its month. Spending takes from the lots by priority, then soonest expiry, then
// oldest.
//
// Every change is an entry. Entries are never changed or deleted; they are numbered without gaps and carry the balance after
// them, so that [Verify] can derive every balance again. All of this holds because whoever writes an entry first locks the
// account's row, as a statement of its own, and reads lots and entries in the statements after it: READ COMMITTED gives each
// of them a snapshot that is younger than the lock. One statement that locks and reads would read from before its wait.
//
// Expiry is exact. credit_accounts.next_change_at says when time alone changes the account next, and a read or a spend at or
// after that moment first settles what has expired; the sweep only keeps the ledger tidy for accounts that nobody looks at.
package credit
