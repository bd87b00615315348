"""What happens inside the process of an attempt, and in the keeper beside it."""
