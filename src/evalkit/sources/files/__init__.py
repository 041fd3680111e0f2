"""Files: the bytes of any kind of file as cells or a frame; nothing here knows what the file is about."""
