"""Pipeline schedules: what each needs, keeps and leaves idle, and in which order a rank runs its chunks."""
