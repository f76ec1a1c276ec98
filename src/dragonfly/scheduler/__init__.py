"""The supernode's mind: who is there, who gets whom as neighbours, who seeds. Sans-IO."""
