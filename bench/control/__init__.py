"""Simulated daemons that speak the real control protocol, to load one real supernode."""
