"""The commands of the command line, by what they are for. They read arguments and print; the work is done elsewhere."""
