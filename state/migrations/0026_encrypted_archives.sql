-- Whether the data of a deleted instance was encrypted at rest: what is restored of it stays so.
ALTER TABLE broker.archives ADD COLUMN encrypted boolean NOT NULL DEFAULT false;
