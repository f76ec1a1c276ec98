"""Looks at the whole way from a runtime to its registry, from outside of the daemon."""
