"""The sentences, by what the user would lose: the tree, the figures, whose it is, the stop, safety."""
