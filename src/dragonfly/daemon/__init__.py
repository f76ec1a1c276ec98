"""The node daemon's face: mirror, proxy, TLS, rules, local control."""
