"""One file per neighbour, each imported only when asked for."""
