"""One model on one table, in the releases of ``models``: each process runs one of them."""
