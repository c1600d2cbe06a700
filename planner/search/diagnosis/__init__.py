"""Messages for searches without a feasible plan: conflicting options, invalid batches, too little memory."""
