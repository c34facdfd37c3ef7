"""What everything else stands on: files, time, tasks and threads, words for people. Knows no part of Holdfast."""
