package problem

// The catalogue, in the order of docs/problems.md. A code never changes its meaning and is never reused.
var (
	// Requests.
	InvalidRequest       = &Kind{"invalid_request", "The request is not as the document says", 400}
	InvalidCursor        = &Kind{"invalid_cursor", "The cursor is not one of ours", 400}
	AccountRequired      = &Kind{"account_required", "The request has to name an account", 400}
	NotFound             = &Kind{"not_found", "There is no such thing", 404}
	MethodNotAllowed     = &Kind{"method_not_allowed", "The method is not allowed here", 405}
	BodyTimeout          = &Kind{"body_timeout", "The body did not arrive in time", 408}
	Conflict             = &Kind{"conflict", "The request conflicts with what is there", 409}
	PayloadTooLarge      = &Kind{"payload_too_large", "The body is too large", 413}
	UnsupportedMediaType = &Kind{"unsupported_media_type", "The body is of a type or encoding that is not taken", 415}
	RateLimited          = &Kind{"rate_limited", "Too many requests", 429}
	IdempotencyRunning   = &Kind{"idempotency_in_progress", "The same request is still running", 409}
	IdempotencyMismatch  = &Kind{"idempotency_key_reused", "The Idempotency-Key belongs to another request", 422}
	RedirectNotAllowed   = &Kind{"redirect_not_allowed", "The address to return to is not of an allowed origin", 422}

	// Who is calling.
	Unauthenticated      = &Kind{"unauthenticated", "A credential is needed", 401}
	InvalidToken         = &Kind{"invalid_token", "The access token is not valid", 401}
	TokenExpired         = &Kind{"token_expired", "The access token has expired", 401}
	SessionRevoked       = &Kind{"session_revoked", "The session has been signed out", 401}
	InvalidAPIKey        = &Kind{"invalid_api_key", "The API key is not valid", 401}
	APIKeyExpired        = &Kind{"api_key_expired", "The API key has expired", 401}
	UserDisabled         = &Kind{"user_disabled", "The user is disabled", 403}
	UserDeleted          = &Kind{"user_deleted", "The user has been deleted", 403}
	AnonymousUser        = &Kind{"anonymous_user", "Anonymous users are not admitted", 403}
	InsufficientScope    = &Kind{"insufficient_scope", "The API key lacks the scope", 403}
	CredentialNotAllowed = &Kind{"credential_not_allowed", "This kind of credential may not do this", 403}
	AddressNotAllowed    = &Kind{"address_not_allowed", "The API key may not be used from this address", 403}
	AdminRequired        = &Kind{"admin_required", "Only an administrator may do this", 403}
	StrongerSignIn       = &Kind{"aal2_required", "A second factor is needed", 403}
	AccountForbidden     = &Kind{"account_forbidden", "The account is not open to the caller", 403}
	AccountClosed        = &Kind{"account_closed", "The account is closed", 403}

	// Sign-in.
	InvalidCredentials     = &Kind{"invalid_credentials", "E-mail address or password is wrong", 401}
	EmailNotConfirmed      = &Kind{"email_not_confirmed", "The e-mail address is not confirmed yet", 403}
	UserExists             = &Kind{"user_already_exists", "There is a user with this e-mail address", 409}
	WeakPassword           = &Kind{"weak_password", "The password is too weak", 422}
	SamePassword           = &Kind{"same_password", "The new password is the old one", 422}
	InvalidRefreshToken    = &Kind{"invalid_refresh_token", "The refresh token is not valid any more", 401}
	CodeExpired            = &Kind{"code_expired", "The code or link has expired or was used", 401}
	ReauthenticationNeeded = &Kind{"reauthentication_needed", "The session is too old to change the password", 403}
	SignUpDisabled         = &Kind{"signup_disabled", "New users are not admitted", 403}
	AuthRefused            = &Kind{"auth_refused", "Supabase Auth has refused the request", 422}

	// Plans and money.
	LimitReached        = &Kind{"limit_reached", "A limit of the plan is reached", 403}
	InsufficientCredits = &Kind{"insufficient_credits", "There are not enough credits", 402}
	ReferenceReused     = &Kind{"reference_reused", "The reference belongs to another transaction", 409}
	AlreadySubscribed   = &Kind{"already_subscribed", "The account has a subscription already", 409}
	CheckoutRunning     = &Kind{"checkout_in_progress", "Another checkout of the account is being opened", 409}
	NoSubscription      = &Kind{"no_subscription", "The account has no subscription", 409}
	SubscriptionEnding  = &Kind{"subscription_ending", "The subscription is to end", 409}
	ChangeRunning       = &Kind{"subscription_change_in_progress", "The subscription is being changed", 409}
	ChangePending       = &Kind{"subscription_change_pending", "An earlier change waits for its payment", 409}
	PaymentOverdue      = &Kind{"payment_overdue", "A payment is overdue", 402}
	PaymentFailed       = &Kind{"payment_failed", "The payment was declined", 402}
	AddressUnknown      = &Kind{"tax_address_invalid", "The tax cannot be worked out for the customer's address", 422}
	PriceNotFound       = &Kind{"price_not_found", "There is no such price on sale", 422}
	UnknownMeter        = &Kind{"unknown_meter", "The meter is not in the catalogue", 422}
	EventTime           = &Kind{"event_time_out_of_range", "The time of the event is out of range", 422}

	// Webhooks.
	InvalidSignature = &Kind{"invalid_signature", "The signature does not fit", 400}
	InvalidEvent     = &Kind{"invalid_event", "The body is no Stripe event", 400}

	// Our side.
	Internal         = &Kind{"internal", "Something failed on our side", 500}
	StripeFailed     = &Kind{"stripe_unavailable", "Stripe does not answer", 503}
	StripeRefused    = &Kind{"stripe_refused", "Stripe has refused what we asked of it", 502}
	SupabaseFailed   = &Kind{"auth_unavailable", "Supabase Auth does not answer", 503}
	Unavailable      = &Kind{"unavailable", "The service is not available right now", 503}
	DeadlineExceeded = &Kind{"deadline_exceeded", "The request took too long", 503}
)
