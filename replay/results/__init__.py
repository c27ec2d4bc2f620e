"""What a run leaves behind: taken down while it runs, written as a recording, shown as frames, numbers and a picture."""
