"""The integer operators of the IR: attributes, inference, and the numpy reference."""
