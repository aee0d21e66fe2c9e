"""How connections come in, and the two servers that speak HTTP on them."""
