package devstack

// StartIn and ResetIn are Start and Reset in a checkout other than the one that holds the working directory.
var (
	StartIn = start
	ResetIn = reset
)
