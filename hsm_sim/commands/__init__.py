"""The command functions, one module per role; each says in its docstring what it computes over."""
