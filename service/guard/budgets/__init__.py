"""How much: what a caller may spend, and where it is kept what has been spent."""
