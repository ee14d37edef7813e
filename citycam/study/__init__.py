"""Elements: the things by which a network tells a city, found on training walks and tested on others."""
