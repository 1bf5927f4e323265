"""What each choice is worth: arms x seeds x tasks from one plan, with intervals."""
