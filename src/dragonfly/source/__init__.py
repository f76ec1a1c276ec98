"""Where bytes come from at last: one backend per scheme, found by entry point."""
