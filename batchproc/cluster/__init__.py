"""A job on many machines: its list in parts, each of which one machine works through, and one result of them all."""
