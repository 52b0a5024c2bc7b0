"""The Modal door: what the classes and functions of modal_entry.py do (modal 1.6)."""
