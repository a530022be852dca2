"""What is reported: one module per section, with a function `report` that measures and gives its Markdown."""
