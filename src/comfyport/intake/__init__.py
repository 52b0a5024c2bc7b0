"""What workflows and other tools' lists say of models becomes entries of models.lock.json."""
