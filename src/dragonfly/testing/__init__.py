"""Public test kit: fakes that pass the same conformance suites as the real things."""
