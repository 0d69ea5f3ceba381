// Package stripeemu is one Stripe account in test mode, on this machine: the API
// that stripe-go v76 speaks (version 2023-10-16), the hosted payment page, the
// customer portal, signed webhooks, and a clock that can be moved.
//
// It keeps three promises. It takes a request only where Stripe's own document
// does, for its parameters come from package stripecontract, and its answers fit
// that document. It never invents success: an operation or a parameter that it
// does not emulate is answered with 501 and its name. And its events come as
// badly as Stripe's may: in any order, more than once, late, after errors; the
// faults are for tests to choose.
//
// Objects are JSON maps, cloned from the samples of Stripe's document with every
// foreign id overwritten. All of the state is behind one lock, so that a request
// sees the whole effect of the one before it.
//
// What time brings about (renewals, retries, ends) happens one step after the
// other when the clock is seen to have moved: at the next request, at
// [Emulator.Advance], or within a second.
//
// Below /_emulator/ are a page that shows the account and an API that steers
// it; Stripe has nothing there.
//
// Simulated time goes into objects and events; signatures carry wall time, as
// their verifiers compare with it.
package stripeemu
