"""Times and lengths of time in every form, timers and their order, and clocks that jump."""
