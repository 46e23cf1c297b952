"""The laboratory: controlled experiments on this machine, and the textbook's claims judged by them."""
