package catalog

// A Document is the content of catalog.yaml. Read it with [Load], which checks it.
type Document struct {
	Currencies  []string    `json:"currencies"`
	Tiers       []TierSpec  `json:"tiers"`
	CreditPacks []PackSpec  `json:"credit_packs"`
	Meters      []MeterSpec `json:"meters"`
}

// A TierSpec is one tier of the document.
type TierSpec struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Rank        int         `json:"rank"`
	Features    []Feature   `json:"features"`
	Limits      Limits      `json:"limits"`
	Credits     Allowance   `json:"credits"`
	TrialDays   int         `json:"trial_days,omitempty"`   // 0 is none
	MaxQuantity int64       `json:"max_quantity,omitempty"` // 0 is one
	Prices      []PriceSpec `json:"prices"`                 // none for the free tier
}

// A PackSpec is one credit pack of the document.
type PackSpec struct {
	ID               string      `json:"id"`
	Name             string      `json:"name"`
	Credits          int64       `json:"credits"`
	ExpiresAfterDays int         `json:"expires_after_days"` // 0 is never
	Prices           []PriceSpec `json:"prices"`
}

// A PriceSpec is one price of a tier or, without an interval, of a pack.
type PriceSpec struct {
	Interval string `json:"interval,omitempty"`
	Currency string `json:"currency"`
	Amount   int64  `json:"amount"`
}

// A MeterSpec is one meter of the document.
type MeterSpec struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Unit string `json:"unit"`
}
