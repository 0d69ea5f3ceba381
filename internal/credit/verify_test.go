package credit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"example.com/saaskit/internal/credit"
)

// verify proves the ledger of the world and returns what is wrong with it.
func (w *world) verify() []string {
	w.t.Helper()
	var found []string
	report, err := credit.Verify(w.t.Context(), w.pool, func(v credit.Violation) { found = append(found, v.String()) })
	if err != nil {
		w.t.Fatalf("verify: %v", err)
	}
	if report.Violations != len(found) {
		w.t.Errorf("the report counts %d violations of %d", report.Violations, len(found))
	}
	return found
}

// proven fails the test where the ledger is not in order.
func (w *world) proven() {
	w.t.Helper()
	for _, violation := range w.verify() {
		w.t.Error(violation)
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		corrupt string // $1 is the account
		want    string
	}{
		{"nothing", "SELECT $1::uuid", ""},
		{"balance", "UPDATE credit_accounts SET balance = balance + 1 WHERE account_id = $1", "the lots hold 65"},
		{"lot", "UPDATE credit_lots SET remaining = remaining - 1 WHERE account_id = $1 AND natural_key = 'a'", "its entries leave"},
		{"granted", "UPDATE credit_lots SET granted = granted + 1 WHERE account_id = $1 AND natural_key = 'a'", "say"},
		{"negative lot", "UPDATE credit_lots SET remaining = -1 WHERE account_id = $1 AND natural_key = 'a'", "holds -1 of 50"},
		{"balance after", "UPDATE credit_entries SET balance_after = balance_after + 1 WHERE account_id = $1 AND seq = 2", "entry 2: 50 and 30 are not 81"},
		{"amount", "UPDATE credit_entries SET amount = amount - 1 WHERE account_id = $1 AND seq = 3", "moved -15 in lots"},
		{"kind", "UPDATE credit_entries SET kind = 'consume' WHERE account_id = $1 AND seq = 1", "is a consume of 50"},
		{"held after", "UPDATE credit_entries SET held_after = balance_after + 1 WHERE account_id = $1 AND seq = 3", "are held of"},
		{"gap", "UPDATE credit_entries SET seq = 9 WHERE account_id = $1 AND seq = 3", "entry 9 follows entry 2"},
		{"entry gone", "DELETE FROM credit_entries WHERE account_id = $1 AND seq = 3", "add up to 80"},
		{"part gone", "DELETE FROM credit_entry_lots WHERE account_id = $1 AND seq = 3", "moved 0 in lots"},
		{"part of nothing", "UPDATE credit_entry_lots SET seq = 7 WHERE account_id = $1 AND seq = 3", "part of entry 7"},
		{"next number", "UPDATE credit_accounts SET next_seq = 3 WHERE account_id = $1", "the next entry would be 3 after 3"},
		{"held", "UPDATE credit_accounts SET held = 66 WHERE account_id = $1", "66 are held of 65"},
		{"expiry unseen", "UPDATE credit_accounts SET next_change_at = NULL WHERE account_id = $1", "nobody would see it before ever"},
		{"expiry seen late", "UPDATE credit_accounts SET next_change_at = next_change_at + interval '1 second' WHERE account_id = $1", "nobody would see it before 2026"},
		{"account gone", "DELETE FROM credit_accounts WHERE account_id = $1", "belongs to nothing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			bystander := w.account
			w.grant(w.lot("x", 10, 10, 0))
			w.account = w.newAccount(day0, true)
			w.grant(w.lot("a", 50, 10, time.Hour))
			w.grant(w.lot("b", 30, 20, 0))
			w.mustConsume(15)
			w.proven()
			w.corrupt(tt.corrupt)
			found := strings.Join(w.verify(), "\n")
			if tt.want == "" && found != "" || !strings.Contains(found, tt.want) {
				t.Errorf("found %q, want %q", found, tt.want)
			}
			if strings.Contains(found, bystander.String()) {
				t.Errorf("another account is blamed: %s", found)
			}
		})
	}
}

// corrupt changes rows past every guard of the database.
func (w *world) corrupt(sql string) {
	w.t.Helper()
	for _, table := range []string{"credit_accounts", "credit_lots", "credit_entries"} {
		w.exec(`DO $$ DECLARE c record; BEGIN
			FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = '` + table + `'::regclass AND contype = 'c' LOOP
				EXECUTE format('ALTER TABLE ` + table + ` DROP CONSTRAINT %I', c.conname);
			END LOOP; END $$`)
	}
	tx, err := w.pool.Begin(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer tx.Rollback(w.t.Context()) // committed below
	// A replica's session runs no triggers, foreign keys included.
	if _, err := tx.Exec(w.t.Context(), "SET LOCAL session_replication_role = replica"); err != nil {
		w.t.Fatal(err)
	}
	if _, err := tx.Exec(w.t.Context(), sql, w.account); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
	if err := tx.Commit(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func TestEntriesAreForEver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("a", 50, 10, 0))
	for _, statement := range []string{
		"UPDATE credit_entries SET description = 'other'", "DELETE FROM credit_entries",
		"UPDATE credit_entry_lots SET amount = 1", "DELETE FROM credit_entry_lots", "TRUNCATE credit_entry_lots", "TRUNCATE credit_entries CASCADE",
	} {
		if _, err := w.pool.Exec(t.Context(), statement); err == nil || !strings.Contains(err.Error(), "never changed or deleted") {
			t.Errorf("%s: %v", statement, err)
		}
	}
	w.proven()
	if len(w.ledger()) != 1 {
		t.Error("the entry is gone")
	}
}

func TestGuards(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grant(w.lot("a", 50, 10, 0))
	for _, statement := range []string{
		"UPDATE credit_accounts SET balance = -1", "UPDATE credit_accounts SET held = 51", "UPDATE credit_accounts SET held = -1",
		"UPDATE credit_lots SET remaining = -1", "UPDATE credit_lots SET remaining = 51",
	} {
		if _, err := w.pool.Exec(t.Context(), statement); err == nil {
			t.Errorf("%s passed", statement)
		}
	}
	if v := (credit.Violation{AccountID: uuid.Nil, What: "x"}).String(); v != "account 00000000-0000-0000-0000-000000000000: x" {
		t.Errorf("String: %s", v)
	}
}
