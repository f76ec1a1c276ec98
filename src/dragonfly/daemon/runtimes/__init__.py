"""What each container runtime must be told to pull through this node's daemon, and how to take it back."""
