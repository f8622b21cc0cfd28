"""Multi-head attention on its own autograd engine, with every head drawn."""
