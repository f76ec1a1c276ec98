"""What must outlive the process: the ticket secret, the directory of tasks, preheat jobs."""
