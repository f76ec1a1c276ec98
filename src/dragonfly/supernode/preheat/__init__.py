"""Fetching beforehand: files and images, onto the seed and onto nodes."""
