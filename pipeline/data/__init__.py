"""Files in the forms people have, read as one lazy canonical Dataset."""
