"""Python clients of the swarm."""
