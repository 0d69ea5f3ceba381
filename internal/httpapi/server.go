// Package httpapi is the HTTP edge: it translates between the document's types and the services, and nothing more.
// There is one file for each tag of the document.
package httpapi

import (
	"example.com/saaskit/internal/account"
	"example.com/saaskit/internal/api"
	"example.com/saaskit/internal/apikey"
	"example.com/saaskit/internal/audit"
	"example.com/saaskit/internal/auth"
	"example.com/saaskit/internal/billing"
	"example.com/saaskit/internal/catalog"
	"example.com/saaskit/internal/credit"
	"example.com/saaskit/internal/stripehook"
	"example.com/saaskit/internal/usage"
)

// A Server answers the operations of the document. Its methods are in one file for each tag.
type Server struct {
	Services
}

// Services is what the operations need.
type Services struct {
	Auth     *auth.Service
	Accounts *account.Service
	Keys     *apikey.Service
	Credits  *credit.Service
	Usage    *usage.Service
	Stripe   *stripehook.Service
	Catalog  *catalog.Service
	Billing  *billing.Service
	Audit    *audit.Log
	Clock    Clock // nil where time cannot be moved
}

var _ api.StrictServerInterface = (*Server)(nil)
