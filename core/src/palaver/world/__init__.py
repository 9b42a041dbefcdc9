"""The world: a folder with personas, templates, lines, lore, plugins and adapter manifests.

Everything here turns files into one `World`, a snapshot that turns hold on to while they run, and
watches the files so that a saved one is live on the next turn.
"""
