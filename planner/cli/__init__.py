"""The commands: one file each; only here are files read, is anything printed, and does a process end."""
