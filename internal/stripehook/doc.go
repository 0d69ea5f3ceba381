// Package stripehook takes in what Stripe reports and keeps our mirror of it.
//
// Intake ([Service.Receive]) verifies the signature over the exact bytes, then stores the event and the job that will work
// on it in one transaction. Nothing is trusted, parsed or stored before; 200 means that both are committed.
//
// The job treats the event as a hint that some object has to be looked at again. A look takes a sequence number from the
// object's fence (table stripe_objects), fetches the object, and stores it only where no look with a higher sequence was
// stored before. The sequence is taken before the fetch, so the highest one has read a state at least as new as every event
// known by then: neither order nor duplicates of deliveries matter. State, effects (credits, payments, messages) and the
// event's end commit in one transaction, and each effect has a natural key of Stripe's: doing it twice changes nothing.
//
// One fence is one root, one root is one transaction. A checkout session leads to a customer, a subscription and an invoice:
// each of them is a root of its own, and the event ends with the last.
//
// Whose an object is follows from our table stripe_customers alone. Metadata may fill an empty row there, never change one.
package stripehook
