"""The processes of a server: a supervisor, its workers, and what they share."""
