"""One task on one node: what to ask whom for, and what to send next. Sans-IO."""
