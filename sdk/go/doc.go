// Package saaskit is the client of a saaskit server.
//
//	c, err := saaskit.New("https://api.example.com", saaskit.WithAPIKey(os.Getenv("SAASKIT_API_KEY")))
//	…
//	spent, err := saaskit.Check(c.ConsumeCreditsWithResponse(ctx,
//		&saaskit.ConsumeCreditsParams{IdempotencyKey: saaskit.NewIdempotencyKey()},
//		saaskit.ConsumeRequest{Amount: 5}))
//	if saaskit.IsCode(err, "insufficient_credits") {
//		…
//	}
//	fmt.Println(spent.JSON200.Available)
//
// [Check] turns a refusal into an [*Error]. Requests that a server may have lost are tried again where that is safe: GET always,
// POST and PATCH with an Idempotency-Key. [All] walks a list over its pages.
//
// client.gen.go is generated from the contract; the rest is written by hand.
package saaskit
