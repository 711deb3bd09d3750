"""What the application `generation` trains, and how it judges it."""
