"""What people read: texts and pages made from facts on disk, never from live objects."""
