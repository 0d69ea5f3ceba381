package outbox_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is a counter of the delivery, of one kind where it is by kind; below 0 where there is none.
func (s *sender) metric(name, kind string) float64 {
	s.t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(s.Delivery)
	families, err := registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (kind == "" || m.GetLabel()[0].GetValue() == kind) {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

// A refused address is given up and does not hold up the others; a server that is busy is asked again after growing pauses, with
// the same mail.
func TestMailRefusedAndBusy(t *testing.T) {
	t.Parallel()
	p := newPostOffice(t, nil)
	s := newSender(t, p, "")
	nobody, wrong := s.owner()
	busy, slow := s.owner()
	fine, _ := s.owner()
	p.answer(wrong, "550 no such user "+wrong)
	p.answer(slow, "451 later, "+slow)
	s.receipt(nobody, "receipt:in_1")
	s.receipt(busy, "receipt:in_2")
	s.receipt(fine, "receipt:in_3")
	s.deliver(1)
	if n := len(p.got(t)); n != 1 {
		t.Errorf("%d mails", n)
	}
	s.deliver(0)
	s.now = s.now.Add(time.Minute)
	s.deliver(0) // tried again, still busy
	p.answer(slow, "")
	s.now = s.now.Add(time.Minute)
	s.deliver(0) // its pause is five minutes now
	s.now = s.now.Add(4 * time.Minute)
	s.deliver(1)
	if mails := p.got(t); len(mails) != 1 || !strings.HasSuffix(mails[0].Header.Get("Message-ID"), "@example.com>") {
		t.Errorf("mails: %v", mails)
	}
	var failed int
	if err := s.pool.QueryRow(t.Context(), "SELECT count(*) FROM outbox WHERE failed_at IS NOT NULL").Scan(&failed); err != nil || failed != 1 {
		t.Errorf("%d given up, %v", failed, err)
	}
	for _, address := range []string{wrong, slow} {
		if strings.Contains(s.log.String(), address) {
			t.Errorf("the log has %s", address)
		}
	}
}

// What a server says of us loses no mail: it is sent when the operator has put things right. What it says of an address is final.
func TestMailRefusalsOfUsAndOfTheAddress(t *testing.T) {
	t.Parallel()
	p := newPostOffice(t, nil)
	s := newSender(t, p, "")
	final := []string{
		"550 no such user", "550 5.1.1 <nobody>: no such user", "550-5.1.1 no such user\r\n550 5.1.1 really", "551 user not local", "553 5.1.3 bad address",
		"554 5.1.1 no such user", "550 5.2.1 mailbox disabled",
	}
	passing := []string{
		"554 5.7.1 <nobody>: Relay access denied", "550 relay not permitted", "553 sorry, that domain isn't in my list of allowed rcpthosts",
		"530 5.7.0 authentication required", "550 5.7.1 we do not like you", "550 5.1.8 sender address rejected: domain not found",
		"550 authentication is required", "554 transaction failed", "552 5.2.2 mailbox full", "500 what", "451 later",
	}
	if n := s.metric("saaskit_mails_given_up_total", "receipt"); n != 0 {
		t.Errorf("%v before the first mail: there is no rise to see", n)
	}
	for i, answer := range append(slices.Clone(final), passing...) {
		account, address := s.owner()
		p.answer(address, answer)
		s.receipt(account, fmt.Sprintf("receipt:in_%02d", i))
	}
	s.deliver(0)
	var lost string
	if err := s.pool.QueryRow(t.Context(), "SELECT string_agg(natural_key, ' ' ORDER BY natural_key) FROM outbox WHERE failed_at IS NOT NULL").Scan(&lost); err != nil {
		t.Fatal(err)
	}
	if want := "receipt:in_00 receipt:in_01 receipt:in_02 receipt:in_03 receipt:in_04 receipt:in_05 receipt:in_06"; lost != want {
		t.Errorf("given up: %s\nwant: %s\n%s", lost, want, s.log)
	}
	if !strings.Contains(s.log.String(), "answered 554 5.7.1") || strings.Contains(s.log.String(), "nobody") {
		t.Errorf("log: %s", s.log)
	}
	if n := s.metric("saaskit_mails_given_up_total", "receipt"); n != float64(len(final)) {
		t.Errorf("%v mails given up", n)
	}
	if n := s.metric("saaskit_mails_postponed_total", ""); n != float64(len(passing)) {
		t.Errorf("%v mails postponed", n)
	}
	p.mu.Lock()
	clear(p.answers)
	p.mu.Unlock()
	s.now = s.now.Add(time.Minute)
	s.deliver(len(passing))
}

// A mail that its server never takes does not take others with it, and one that takes none is not asked for all of them at once.
func TestMailRefusedForeverHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	p := newPostOffice(t, nil)
	s := newSender(t, p, "")
	account, address := s.owner()
	p.answer(address, "554 5.7.1 not this one")
	s.receipt(account, "receipt:in_a")
	fine, _ := s.owner()
	s.receipt(fine, "receipt:in_b")
	s.deliver(1)
	for i := range 30 {
		s.receipt(account, fmt.Sprint("receipt:in_", i))
	}
	s.deliver(0)
	var tried int
	if err := s.pool.QueryRow(t.Context(), "SELECT count(*) FROM outbox WHERE attempts > 0 AND sent_at IS NULL").Scan(&tried); err != nil || tried != 21 {
		t.Errorf("%d were tried, %v; want the one from before and 20", tried, err)
	}
}
