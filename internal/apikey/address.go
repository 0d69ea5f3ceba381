package apikey

import (
	"net/netip"
	"slices"
)

// networksOf reads addresses and networks. An address is the network of itself; an IPv4 address or network in IPv6 clothes is
// taken as IPv4, as callers' addresses are.
func networksOf(texts []string) ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, 0, len(texts))
	for _, text := range texts {
		network, ok := parseNetwork(text)
		if !ok {
			return nil, invalid("body.allowed_ips", "%q is neither an address nor a network like 192.0.2.0/24", text)
		}
		if !slices.Contains(networks, network) {
			networks = append(networks, network)
		}
	}
	return networks, nil
}

func parseNetwork(text string) (netip.Prefix, bool) {
	const v4InV6 = 96 // bits before the IPv4 address
	if addr, err := netip.ParseAddr(text); err == nil {
		if addr.Zone() != "" {
			return netip.Prefix{}, false
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	network, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, false
	}
	if network.Addr().Is4In6() {
		if network.Bits() < v4InV6 {
			return netip.Prefix{}, false
		}
		network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-v4InV6)
	}
	return network.Masked(), true
}

// admits tells whether one of the networks has the address; no networks have all.
func admits(networks []netip.Prefix, addr netip.Addr) bool {
	if len(networks) == 0 {
		return true
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}
