"""Controlled experiments: each isolates one cause with the real executors, and gives a table."""
