package httpapi

import (
	"fmt"
	"net"

	"github.com/labstack/echo/v4"
)

// clientAddress takes the address of the connection; X-Forwarded-For counts only where a trusted proxy wrote it. Echo by
// itself would believe anybody's header.
func clientAddress(trusted []string) (echo.IPExtractor, error) {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect(), nil
	}
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, text := range trusted {
		_, network, err := net.ParseCIDR(text)
		if err != nil {
			return nil, fmt.Errorf("trusted proxy %q is not a network: %w", text, err)
		}
		options = append(options, echo.TrustIPRange(network))
	}
	return echo.ExtractIPFromXFFHeader(options...), nil
}
