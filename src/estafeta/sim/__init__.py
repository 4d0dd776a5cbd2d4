"""The same rooms in a simulated world, from one seed."""
