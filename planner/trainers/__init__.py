"""The trainers that a plan can be made for, one file each, and what the programs support that run their plans."""
