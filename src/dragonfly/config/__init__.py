"""Settings of all parts as one tree: flag over environment over file."""
