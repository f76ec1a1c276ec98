"""`make demo`: what Dragonfly is for, shown on real data on one machine."""
