"""Can maps be believed? Marks are planted in pictures, and the maps of each method have to find them."""
