"""What runs in a process of its own: one module per measure, with a function `measure` that gives its figures."""
