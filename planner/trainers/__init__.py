"""The trainers that a plan can be made for, one file each: what they keep in memory, communicate and overlap."""
