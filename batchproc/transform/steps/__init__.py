"""The steps: one image operation each, small frozen values that a worker calls. `table` (parent only) reads them."""
