package supabase

import "net/http"

// discovery answers GET /.well-known/openid-configuration.
func (s *Server) discovery(*http.Request) (answer, error) {
	iss := s.cfg.Issuer
	return ok(map[string]any{
		"issuer":                                iss,
		"authorization_endpoint":                iss + "/oauth/authorize",
		"token_endpoint":                        iss + "/oauth/token",
		"userinfo_endpoint":                     iss + "/oauth/userinfo",
		"jwks_uri":                              iss + jwksPath,
		"response_types_supported":              []string{"code"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "ES256"},
	}), nil
}

// health answers GET /health.
func (s *Server) health(*http.Request) (answer, error) {
	return ok(map[string]any{
		"version": "v2.196.0-stand-in", "name": "GoTrue",
		"description": "GoTrue is a user registration and authentication API",
	}), nil
}

// settings answers GET /settings.
func (s *Server) settings(*http.Request) (answer, error) {
	return ok(map[string]any{
		"external":           map[string]bool{"email": true, "phone": false, "anonymous_users": s.cfg.Anonymous},
		"disable_signup":     s.cfg.DisableSignup,
		"mailer_autoconfirm": s.cfg.AutoConfirm,
		"phone_autoconfirm":  false,
		"sms_provider":       "",
		"saml_enabled":       false,
	}), nil
}
