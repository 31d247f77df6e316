"""Work pools of type kubernetes."""
