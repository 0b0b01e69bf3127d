"""Training: rows, their R factors, and the model that follows from them."""
