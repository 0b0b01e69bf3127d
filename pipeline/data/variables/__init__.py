"""Variables of files: their names, units and levels, in canonical form."""
