"""The frozen types that the stages of the road hand to each other; no input, no output, no foreign package."""
