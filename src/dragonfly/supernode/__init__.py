"""The supernode's face: control sessions, REST API, preheat, state."""
