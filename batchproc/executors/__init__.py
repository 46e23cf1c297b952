"""How a stage is run: serial, thread, process. One protocol, one contract suite, no knowledge of any stage."""
