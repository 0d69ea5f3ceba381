// Package stripecontract checks requests to Stripe, and answers from it,
// against Stripe's own OpenAPI document, without a network.
//
// The document and the sample objects come from stripe-mock v0.183.0, the last
// release whose document describes API version 2023-10-16, the version that
// stripe-go v76 speaks. stripe-mock's own validation lets a good deal pass that
// Stripe refuses: unknown parameters below the top level, over-long strings,
// expansions of fields that do not exist. This package closes every object of
// the document, and adds by hand the rules that an OpenAPI document cannot say.
//
// Its two users are the emulator, which takes its parameters from
// [Contract.Decode] so that it cannot accept what Stripe would refuse, and
// [Transport], which sits under a real stripe-go client in a test and checks
// both directions, whatever answers behind it.
//
// Loading takes about a second, so [Load] does it once for the process.
package stripecontract
