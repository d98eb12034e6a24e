"""The sections of the bench, one file each: a title and a function from a Bench to a Report."""
