package redistest

// Claim is New for a server that tests share.
var Claim = claim
