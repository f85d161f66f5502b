"""Frames of games on disk: parquet with one row an agent step, windows of it for training, and where it comes from.

* `layout`: the columns, the metadata file, what makes a folder whole.
* `writer`: streamed writing that a kill leaves loadable.
* `store`: opening: sizes, checksums, order of the rows, the decoded training cache.
* `windows`: random windows with the frames that a loss needs and no others, in seeded resumable epochs.
* `collect`: playing games into a folder. `dqn_replay`: importing the DQN Replay data set.

Every frame is stored once; stacks are made on read. Needs pyarrow. Nothing here knows torch.
"""
