// Package contract carries the OpenAPI document as it was written, for those who read it.
package contract

import _ "embed"

// Document is openapi.yaml.
//
//go:embed openapi.yaml
var Document []byte
