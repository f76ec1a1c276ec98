"""A virtual world around the two minds: links with rates, churn, bad peers, virtual time."""
