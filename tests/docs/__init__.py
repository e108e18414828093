"""What the documents show is held to what there is."""
