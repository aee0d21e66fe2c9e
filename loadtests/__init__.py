"""Load tests. They know the service by HTTP alone, and measure and draw with what `tureen bench` is made of."""
