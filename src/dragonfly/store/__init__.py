"""The node's disk: blobs in pieces, crash-safe, bounded."""
