"""What is counted, in memory that all workers share, and how it is told."""
